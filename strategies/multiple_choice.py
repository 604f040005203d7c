"""The multiple-choice knapsack, solved exactly: one candidate for every gate, the largest sum of values, a budget.

Costs are whole units, so that dynamic programming over what is spent finds the optimum for every sum at once. Gates
come in blocks: the slices of an activation share their rounds, so that a block costs, beside its gates' own candidates,
the largest level among those that it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Block:
    """Gates that share a level.

    Attributes:
        values: label -> candidate -> what taking it is worth.
        costs: label -> candidate -> whole units of at least 0.
        levels: candidate -> units of which the block costs the largest that any of its gates takes, once.
    """

    values: Mapping[str, Mapping[str, float]]
    costs: Mapping[str, Mapping[str, int]]
    levels: Mapping[str, int] = field(default_factory=dict)

    def level(self, candidate: str) -> int:
        return self.levels.get(candidate, 0)


class Knapsack:
    """The best network for every number of units up to a budget.

    Args:
        blocks: all gates.
        budget: the most units; below 0 nothing fits.

    Attributes:
        best: float64 [budget + 1], the largest value of a network that costs exactly so many units, -inf for none.
    """

    def __init__(self, blocks: Sequence[Block], budget: int) -> None:
        self._blocks = blocks
        self._steps: list[tuple[np.ndarray, dict[int, list[np.ndarray]]]] = []
        self.best = np.full(max(budget + 1, 0), -np.inf)
        self.best[:1] = 0.0
        for block in blocks:
            self.best = self._with(block)

    def choices(self, units: int) -> dict[str, str]:
        """label -> candidate of the best network that costs exactly `units`.

        Raises:
            ValueError: no network does.
        """
        if not 0 <= units < len(self.best) or self.best[units] == -np.inf:
            raise ValueError(f"no network costs {units} units")
        chosen: dict[str, str] = {}
        for block, (levels, taken) in zip(reversed(self._blocks), reversed(self._steps)):
            level, reached = int(levels[units]), 1
            for label, places in zip(reversed(list(block.values)), reversed(taken[level])):
                place = int(places[reached, units])
                name = chosen[label] = list(block.values[label])[abs(place) - 1]
                reached = 1 if place > 0 else 0
                units -= block.costs[label][name]
            units -= level
        return chosen

    def _with(self, block: Block) -> np.ndarray:
        """`best` with a block more: for each level the networks whose highest candidate is of that level."""
        best, levels = np.full_like(self.best, -np.inf), np.zeros(len(self.best), np.int64)
        taken: dict[int, list[np.ndarray]] = {}
        names = {name for candidates in block.values.values() for name in candidates}
        for level in sorted(set(map(block.level, names))):
            taken[level] = []
            # row 0: no gate has reached the level yet; row 1: one has
            state = np.stack([_shifted(self.best, level), np.full_like(self.best, -np.inf)])
            for label in block.values:
                state, places = _choose(state, block, label, level)
                taken[level].append(places)
            better = state[1] > best
            best[better], levels[better] = state[1, better], level
        self._steps.append((levels, taken))
        return best


def _choose(state: np.ndarray, block: Block, label: str, level: int) -> tuple[np.ndarray, np.ndarray]:
    """One gate more: the best value for every sum, and 1 + the place of the candidate that it takes.

    Negative where the gate is the first of its block to reach the level.
    """
    best, places = np.full_like(state, -np.inf), np.zeros(state.shape, np.int8)
    for place, (name, value) in enumerate(block.values[label].items(), start=1):
        if block.level(name) > level:
            continue
        before, after = (_shifted(row, block.costs[label][name]) + value for row in state)
        ways = [(1, after, place)]
        ways.append((1, before, -place) if block.level(name) == level else (0, before, -place))
        for row, found, mark in ways:
            better = found > best[row]
            best[row, better], places[row, better] = found[better], mark
    return best, places


def _shifted(state: np.ndarray, units: int) -> np.ndarray:
    """What was reached with so many units less."""
    if units >= len(state):
        return np.full_like(state, -np.inf)
    return np.concatenate([np.full(units, -np.inf), state[: len(state) - units]])
