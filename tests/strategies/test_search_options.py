"""Impossible settings are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from rrnet_nni.base.errors import Refusal
from rrnet_nni.strategies.options import SearchOptions


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2.5}, "epochs"),
        ({"warmup_epochs": 15}, "warmup_epochs"),
        ({"strategy": "annealing"}, "strategy"),
        ({"order": 3}, "order"),
        ({"hvp": "numeric"}, "hvp"),
        ({"latency_weight": -1}, "latency_weight"),
        ({"latency_weight": float("nan")}, "latency_weight"),
        ({"epsilon": 0}, "epsilon"),
        ({"temperature_end": 2.0}, "temperature_end"),
        ({"freeze_threshold": 0.4}, "freeze_threshold"),
        ({"target_latency_ms": 0}, "target_latency_ms"),
        ({"seed": True}, "seed"),
        ({"budget_s": -3}, "budget_s"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(Refusal, match=named):
        SearchOptions(**settings)


def test_options_survive_the_way_through_a_file() -> None:
    options = SearchOptions(order=1, target_latency_ms=3.5)
    assert SearchOptions(**options.to_dict()) == options


def test_a_weight_of_integer_zero_is_a_weight() -> None:
    assert SearchOptions(latency_weight=0).latency_weight == 0


@pytest.mark.parametrize(
    ("settings", "strategy"),
    [
        ({}, "rrnet"),
        ({"target_latency_ms": 3.5}, "knapsack"),
        ({"target_comparisons": 5000}, "knapsack"),
        ({"target_comparisons": 5000, "alpha_start": "knapsack"}, "rrnet"),
        ({"target_comparisons": 5000, "strategy": "rrnet-first-order"}, "rrnet-first-order"),
        ({"strategy": "greedy"}, "greedy"),
    ],
)
def test_within_a_target_the_knapsack_searches_unless_something_else_is_named(
    settings: dict[str, Any], strategy: str
) -> None:
    assert SearchOptions(**settings).strategy_name == strategy
