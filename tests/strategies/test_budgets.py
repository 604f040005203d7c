"""λ is moved towards a budget, and the derived network is the most probable one within it, never beyond."""

from __future__ import annotations

from itertools import product
from math import prod
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.strategies.budgets import TOLERANCE, ComparisonBudget, LatencyBudget, most_probable
from rrnet_nni.strategies.darts.controller import BudgetController


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
def test_no_network_within_the_latency_is_more_probable(gates: list[tuple[float, float]], share: float) -> None:
    latency = space([cost for cost, _ in gates])
    theta = {f"act{i}": {"relu": p, "x2act": 1 - p} for i, (_, p) in enumerate(gates)}
    fastest, slowest = latency.bounds_ms()
    target_ms = fastest + share * (slowest - fastest)
    found = most_probable(theta, LatencyBudget(latency, target_ms))
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


CUT = {"relu": (5.0, 2.0, 64), "x2act": (2.0, 0.5, 0), "relu2x2": (3.0, 2.5, 16), "identity": (0.0, 0.0, 0)}


def cut_space(activations: int = 2, groups: int = 3) -> ExpectedLatency:
    """Activations cut into slices with four candidates, and a gated pooling; eight comparisons are always made."""
    entries: dict[str, dict[str, Any]] = {"pool": {
        "maxpool": SimpleNamespace(latency_ms=4.0, comparisons=48, message_ms=1.0),
        "avgpool": SimpleNamespace(latency_ms=0.1, comparisons=0, message_ms=0.0),
    }}  # fmt: skip
    slices = {f"act{a}.g{g}": f"act{a}" for a in range(activations) for g in range(groups)}
    for number, label in enumerate(slices):
        entries[label] = {
            name: SimpleNamespace(latency_ms=ms * (1 + number) + shared, comparisons=count, message_ms=shared)
            for name, (ms, shared, count) in CUT.items()
        }
    return ExpectedLatency(SimpleNamespace(entries=entries, fixed_ms=1.0), slices=slices, fixed_comparisons=8)


def probabilities(latency: ExpectedLatency, weights: list[float]) -> dict[str, dict[str, float]]:
    drawn = iter(weights * 100)
    return {label: {name: next(drawn) for name in candidates} for label, candidates in latency.milliseconds.items()}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=7, max_size=13), st.integers(8, 500))
def test_a_budget_of_comparisons_is_never_exceeded_and_none_within_is_more_probable(
    weights: list[float], target: int
) -> None:
    latency = cut_space(activations=1)
    theta, budget = probabilities(latency, weights), ComparisonBudget(latency, target)
    found = most_probable(theta, budget)
    assert latency.comparisons(found) <= target
    networks = [dict(zip(theta, names)) for names in product(*theta.values())]
    inside = [n for n in networks if (1 - TOLERANCE) * target <= latency.comparisons(n) <= target]

    def probability(choices: dict[str, str]) -> float:
        return prod(theta[label][name] for label, name in choices.items())

    if inside:
        assert probability(found) == pytest.approx(max(map(probability, inside)))
    else:
        below = [latency.comparisons(n) for n in networks if latency.comparisons(n) <= target]
        assert latency.comparisons(found) == max(below)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=7, max_size=13), st.floats(0.0, 1.0))
def test_slices_meet_a_latency_with_the_rounds_that_they_share(weights: list[float], share: float) -> None:
    latency = cut_space(activations=1)
    fastest, slowest = latency.bounds_ms()
    target_ms = fastest + share * (slowest - fastest)
    theta = probabilities(latency, weights)
    found = most_probable(theta, LatencyBudget(latency, target_ms))
    assert latency.profile(found) <= target_ms + 1e-9
    # the grid is finer than a thousandth of the target
    low, high = (1 - TOLERANCE + 1e-3) * target_ms, (1 - 1e-3) * target_ms
    inside = [n for n in (dict(zip(theta, names)) for names in product(*theta.values()))
              if low <= latency.profile(n) <= high]  # fmt: skip
    if inside:
        chances = [prod(theta[label][name] for label, name in n.items()) for n in (found, *inside)]
        assert chances[0] >= max(chances) * 0.999


def test_a_budget_below_the_fewest_comparisons_is_refused() -> None:
    latency = cut_space()
    BudgetController(ComparisonBudget(latency, 8), 0.1)
    with pytest.raises(Refusal, match="target_comparisons is 7, but the space's fastest network makes 8 comparisons"):
        BudgetController(ComparisonBudget(latency, 7), 0.1)
    most = latency.comparison_bounds()[1]
    with pytest.raises(Refusal, match=f"slowest network makes {most} comparisons: search without"):
        BudgetController(ComparisonBudget(latency, 2 * most), 0.1)


def test_above_the_target_the_weight_grows_and_below_it_shrinks() -> None:
    controller = BudgetController(LatencyBudget(space([4.0, 4.0]), 4.0), 0.1)
    assert controller.update(8.0) > controller.integral > 0.1
    for _ in range(40):
        weight = controller.update(2.0)
    assert weight < controller.integral < 0.1


def test_a_weight_of_zero_starts_from_one_over_what_can_be_saved() -> None:
    assert BudgetController(LatencyBudget(space([4.0, 4.0]), 4.0), 0.0).integral == pytest.approx(1 / 7)


def test_a_target_below_the_fastest_network_is_refused() -> None:
    with pytest.raises(Refusal, match="target_latency_ms is 1"):
        BudgetController(LatencyBudget(space([4.0]), 1.0), 0.1)


def test_a_target_above_the_slowest_network_is_refused() -> None:
    BudgetController(LatencyBudget(space([4.0]), 5.2), 0.1)
    with pytest.raises(Refusal, match=r"slowest network takes 5 ms: search without"):
        BudgetController(LatencyBudget(space([4.0]), 5.3), 0.1)
