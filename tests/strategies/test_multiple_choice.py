"""The multiple-choice knapsack: the optimum for every sum, as trying every network finds it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.strategies.multiple_choice import Block, Knapsack

NAMES = ("relu", "x2act", "identity")


@st.composite
def blocks(draw: st.DrawFn) -> list[Block]:
    made = []
    for number in range(draw(st.integers(1, 3))):
        labels = [f"{number}.{slot}" for slot in range(draw(st.integers(1, 3)))]
        values = {label: {name: draw(st.integers(-8, 8)) / 2 for name in NAMES} for label in labels}
        costs = {label: {name: draw(st.integers(0, 4)) for name in NAMES} for label in labels}
        levels = {name: draw(st.integers(0, 3)) for name in NAMES} if draw(st.booleans()) else {}
        made.append(Block(values, costs, levels))
    return made


def every_network(given_blocks: list[Block]) -> list[tuple[dict[str, str], float, int]]:
    labels = [label for block in given_blocks for label in block.values]
    found = []
    for names in itertools.product(NAMES, repeat=len(labels)):
        chosen = dict(zip(labels, names))
        value = sum(block.values[label][chosen[label]] for block in given_blocks for label in block.values)
        cost = 0
        for block in given_blocks:
            cost += sum(block.costs[label][chosen[label]] for label in block.values)
            cost += max(block.levels.get(chosen[label], 0) for label in block.values)
        found.append((chosen, value, cost))
    return found


@given(blocks(), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_the_best_network_of_every_cost_is_the_one_that_trying_all_finds(
    given_blocks: list[Block], budget: int
) -> None:
    knapsack = Knapsack(given_blocks, budget)
    networks = every_network(given_blocks)
    known = {tuple(sorted(chosen.items())): (value, cost) for chosen, value, cost in networks}
    for units in range(budget + 1):
        wanted = max((value for _, value, cost in networks if cost == units), default=-np.inf)
        assert knapsack.best[units] == wanted
        if knapsack.best[units] > -np.inf:
            value, cost = known[tuple(sorted(knapsack.choices(units).items()))]
            assert (value, cost) == (wanted, units)


def test_a_sum_that_no_network_has_is_refused() -> None:
    knapsack = Knapsack([Block({"a": {"relu": 1.0}}, {"a": {"relu": 3}})], 5)
    assert knapsack.choices(3) == {"a": "relu"}
    for units in (2, 5, 6, -1):
        with pytest.raises(ValueError, match="no network"):
            knapsack.choices(units)
