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


def cut_activation(messages: tuple[float, float, float] = (3.0, 1.0, 0.0)) -> ExpectedLatency:
    """One activation in three slices of different sizes, and a pooling."""
    names = ("relu", "x2act", "identity")
    entries = {
        f"act.g{number}": {
            name: SimpleNamespace(latency_ms=size * own + shared, message_ms=shared, comparisons=int(size * own))
            for name, own, shared in zip(names, (4.0, 2.0, 0.0), messages)
        }
        for number, size in enumerate((1.0, 2.0, 1.5))
    }
    entries["pool"] = {"maxpool": SimpleNamespace(latency_ms=3.0, message_ms=2.0, comparisons=5)}
    table = SimpleNamespace(entries=entries, fixed_ms=1.0)
    return ExpectedLatency(table, slices={f"act.g{number}": "act" for number in range(3)}, fixed_comparisons=2)


def networks(latency: ExpectedLatency) -> list[dict[str, str]]:
    return [dict(zip(latency.milliseconds, names)) for names in product(*latency.milliseconds.values())]


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=3, max_size=3))
def test_the_expectation_over_slices_that_share_rounds_is_the_mean_over_all_networks(weights: list[Any]) -> None:
    latency = cut_activation()
    theta = {f"act.g{n}": torch.tensor(row).double() / sum(row) for n, row in enumerate(weights)}
    theta["pool"] = torch.ones(1).double()
    mean, compared = 0.0, 0.0
    for sample in networks(latency):
        places = [list(latency.milliseconds[label]).index(name) for label, name in sample.items()]
        chance = float(torch.stack([theta[label][place] for label, place in zip(sample, places)]).prod())
        mean, compared = mean + chance * latency.profile(sample), compared + chance * latency.comparisons(sample)
    assert float(latency(theta)) == pytest.approx(mean)
    order = {label: tuple(prices) for label, prices in latency.milliseconds.items()}
    assert float(latency.expected_comparisons(theta, order)) == pytest.approx(compared)


@pytest.mark.parametrize("messages", [(3.0, 1.0, 0.0), (0.5, 4.0, 0.0), (1.0, 1.0, 1.0)])
def test_bounds_and_expression_of_a_cut_activation_are_those_of_its_networks(messages: tuple[float, ...]) -> None:
    latency = cut_activation(messages)  # type: ignore[arg-type]
    profiles = [latency.profile(sample) for sample in networks(latency)]
    assert latency.bounds_ms() == pytest.approx((min(profiles), max(profiles)))
    counts = [latency.comparisons(sample) for sample in networks(latency)]
    assert latency.comparison_bounds() == (min(counts), max(counts))
    for sample, profile in zip(networks(latency), profiles):
        assert latency.expression.evaluate(sample) == pytest.approx(profile)


@given(st.lists(st.integers(0, 6), min_size=10, max_size=10), st.integers(0, 3))
def test_the_cheapest_architecture_is_the_one_that_trying_all_finds(drawn: list[int], weight: int) -> None:
    latency = cut_activation()
    left = iter(drawn)
    costs = {label: {name: float(next(left)) for name in names} for label, names in latency.milliseconds.items()}

    def cost(sample: dict[str, str]) -> float:
        own = sum(costs[label][name] for label, name in sample.items())
        return own + weight * sum(shared.of(sample) for shared in latency.messages.values())

    assert cost(latency.cheapest(costs, weight)) == min(map(cost, networks(latency)))


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
