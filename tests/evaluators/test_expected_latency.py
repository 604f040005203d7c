"""Lat(α) prices one architecture and a distribution over them, for the search and for NNI's own tools."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty, RangeProfilerFilter

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.search_spaces import SpaceOptions, fixed_choices


def priced(prices: dict[str, dict[str, float]], fixed_ms: float = 1.0) -> ExpectedLatency:
    entries = {
        label: {name: SimpleNamespace(latency_ms=ms, comparisons=int(ms * 100)) for name, ms in candidates.items()}
        for label, candidates in prices.items()
    }
    return ExpectedLatency(SimpleNamespace(entries=entries, fixed_ms=fixed_ms), {"act": {"relu": 7}}, fixed_relus=2)


PRICES = {"act": {"relu": 4.0, "x2act": 0.5}, "pool": {"maxpool": 3.0, "avgpool": 0.0}}


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_expectation_is_the_mean_over_all_networks(p: float, q: float) -> None:
    latency = priced(PRICES)
    theta = {"act": torch.tensor([p, 1 - p]).double(), "pool": torch.tensor([q, 1 - q]).double()}
    mean = 0.0
    for (act, weight), (pool, other) in product(
        zip(("relu", "x2act"), theta["act"]), zip(("maxpool", "avgpool"), theta["pool"])
    ):
        mean += float(weight * other) * latency.profile({"act": act, "pool": pool})
    assert float(latency(theta)) == pytest.approx(mean)


def test_the_order_of_candidates_is_the_callers() -> None:
    latency = priced(PRICES)
    theta = {"act": torch.tensor([1.0, 0.0]), "pool": torch.tensor([0.0, 1.0])}
    backwards = {"act": ("x2act", "relu"), "pool": ("avgpool", "maxpool")}
    assert float(latency(theta, backwards)) == pytest.approx(1.0 + 0.5 + 3.0)


def test_one_network_has_latency_relus_and_comparisons() -> None:
    latency = priced(PRICES)
    slowest, fastest = {"act": "relu", "pool": "maxpool"}, {"act": "x2act", "pool": "avgpool"}
    assert (latency.profile(fastest), latency.profile(slowest)) == latency.bounds_ms() == (1.5, 8.0)
    assert (latency.relus(slowest), latency.relus(fastest)) == (9, 2)
    assert (latency.comparisons(slowest), latency.comparisons(fastest)) == (700, 50)


def test_nnis_filter_and_penalty_accept_it_as_a_profiler() -> None:
    latency = priced(PRICES)
    within = RangeProfilerFilter(latency, max=5.0)
    assert within({"act": "x2act", "pool": "maxpool"})
    assert not within({"act": "relu", "pool": "maxpool"})
    penalty = ExpectationProfilerPenalty(latency, baseline=2.0)
    theta: Any = {"act": {"relu": 0.5, "x2act": 0.5}, "pool": {"maxpool": 0.25, "avgpool": 0.75}}
    assert penalty.profile(theta) == pytest.approx(1.0 + 2.25 + 0.75)
    assert latency.expression.evaluate({"act": "relu", "pool": "avgpool"}) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("theta", "named"),
    [
        ({"act": torch.ones(2)}, "prices the choice pool"),
        ({**{label: torch.ones(2) for label in PRICES}, "act9": torch.ones(2)}, "no entry for the choice act9"),
    ],
)
def test_a_table_of_another_space_is_refused(theta: dict[str, torch.Tensor], named: str) -> None:
    with pytest.raises(Refusal, match=named):
        priced(PRICES)(theta, {label: ("relu", "x2act") if "act" in label else tuple(PRICES[label]) for label in theta})


def test_an_unpriced_candidate_is_refused() -> None:
    with pytest.raises(Refusal, match="candidate gelu of the choice act"):
        priced(PRICES).profile({"act": "gelu", "pool": "avgpool"})


def test_relus_of_a_backbone_follow_from_its_operators() -> None:
    space = SpaceOptions(image_size=16, channels=1)
    operators = describe_space("resnet8", space)
    entries = {
        label: {name: SimpleNamespace(latency_ms=1.0, comparisons=0) for name in names}
        for label, names in operators.choices.items()
    }
    latency = ExpectedLatency.of_space(operators, SimpleNamespace(entries=entries, fixed_ms=0.0))
    relus = sum(
        shape.elements
        for candidates in operators.choices.values()
        for name, shape in candidates.items()
        if name == "relu"  # type: ignore[union-attr]
    )
    assert latency.relus(fixed_choices("resnet8", space)) == relus > 0
    assert latency.relus(fixed_choices("resnet8", space, "x2act", "avgpool")) == 0
