"""The controller moves λ towards the target, and the derived network is the most probable one within it."""

from __future__ import annotations

from itertools import product
from math import prod
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.strategies.darts.latency_target import TOLERANCE, LatencyController, derive_within


def space(costs: list[float], fixed_ms: float = 1.0) -> ExpectedLatency:
    entries = {
        f"act{index}": {
            "relu": SimpleNamespace(latency_ms=cost, comparisons=0),
            "x2act": SimpleNamespace(latency_ms=cost / 8, comparisons=0),
        }
        for index, cost in enumerate(costs)
    }
    return ExpectedLatency(SimpleNamespace(entries=entries, fixed_ms=fixed_ms))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 5.0), st.floats(0.01, 0.99)), min_size=1, max_size=6),
    st.floats(0.05, 1.0),
)
def test_no_network_within_the_target_is_more_probable(gates: list[tuple[float, float]], share: float) -> None:
    latency = space([cost for cost, _ in gates])
    theta = {f"act{i}": {"relu": p, "x2act": 1 - p} for i, (_, p) in enumerate(gates)}
    fastest, slowest = latency.bounds_ms()
    target_ms = fastest + share * (slowest - fastest)
    found = derive_within(theta, latency, target_ms)
    assert latency.profile(found) <= target_ms + 1e-9

    def probability(choices: dict[str, str]) -> float:
        return prod(theta[label][name] for label, name in choices.items())

    networks = [dict(zip(theta, names)) for names in product(("relu", "x2act"), repeat=len(gates))]
    # The search rounds costs up to a grid; networks within the grid of an end of the window are left out.
    slack = 0.002 * target_ms
    low, high = (1 - TOLERANCE) * target_ms, target_ms
    inside = [n for n in networks if low + slack <= latency.profile(n) <= high - slack]
    if inside:
        assert low - 1e-9 <= latency.profile(found)
        assert probability(found) >= max(map(probability, inside)) * 0.999


def test_above_the_target_the_weight_grows_and_below_it_shrinks() -> None:
    controller = LatencyController(space([4.0, 4.0]), 0.1, target_ms=4.0)
    assert controller.update(8.0) > controller.integral > 0.1
    for _ in range(40):
        weight = controller.update(2.0)
    assert weight < controller.integral < 0.1


def test_a_weight_of_zero_starts_from_one_over_what_can_be_saved() -> None:
    assert LatencyController(space([4.0, 4.0]), 0.0, target_ms=4.0).integral == pytest.approx(1 / 7)


def test_a_target_below_the_fastest_network_is_refused() -> None:
    with pytest.raises(Refusal, match="target_latency_ms is 1"):
        LatencyController(space([4.0]), 0.1, target_ms=1.0)


def test_a_target_above_the_slowest_network_is_refused() -> None:
    LatencyController(space([4.0]), 0.1, target_ms=5.2)
    with pytest.raises(Refusal, match=r"slowest network takes 5 ms: search without"):
        LatencyController(space([4.0]), 0.1, target_ms=5.3)
