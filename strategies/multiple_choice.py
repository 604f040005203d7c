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
        levels: candidate -> units that the block costs once where any of its gates takes it, or one of a lower level.
    """

    values: Mapping[str, Mapping[str, float]]
    costs: Mapping[str, Mapping[str, int]]
    levels: Mapping[str, int] = field(default_factory=dict)


class Knapsack:
    """The best network for every number of units up to a budget.

    Args:
        blocks: all gates.
        budget: the most units.

    Attributes:
        best: float64 [budget + 1], the largest value of a network that costs exactly so many units, -inf for none.
    """

    def __init__(self, blocks: Sequence[Block], budget: int) -> None:
        self._blocks = blocks
        self._steps: list[tuple[np.ndarray, dict[int, list[np.ndarray]]]] = []
        self.best = np.full(budget + 1, -np.inf)
        self.best[0] = 0.0
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
            level = int(levels[units])
            for label, places in zip(reversed(list(block.values)), reversed(taken[level])):
                chosen[label] = list(block.values[label])[places[units]]
                units -= block.costs[label][chosen[label]]
            units -= level
        return chosen

    def _with(self, block: Block) -> np.ndarray:
        """`best` with a block more; a network of a level is looked for among candidates up to it."""
        best, levels = np.full_like(self.best, -np.inf), np.zeros(len(self.best), np.int64)
        taken: dict[int, list[np.ndarray]] = {}
        names = {name for candidates in block.values.values() for name in candidates}
        for level in sorted({block.levels.get(name, 0) for name in names}):
            state, taken[level] = _shifted(self.best, level), []
            for label, values in block.values.items():
                allowed = [block.levels.get(name, 0) <= level for name in values]
                state, places = _choose(state, list(values.values()), list(block.costs[label].values()), allowed)
                taken[level].append(places)
            better = state > best
            best[better], levels[better] = state[better], level
        self._steps.append((levels, taken))
        return best


def _choose(
    state: np.ndarray, values: Sequence[float], costs: Sequence[int], allowed: Sequence[bool]
) -> tuple[np.ndarray, np.ndarray]:
    """One gate more: the best value for every sum, and the place of the candidate that it takes."""
    best, places = np.full_like(state, -np.inf), np.zeros(len(state), np.int8)
    for place, (value, cost, taken) in enumerate(zip(values, costs, allowed, strict=True)):
        if taken:
            found = _shifted(state, cost) + value
            better = found > best
            best[better], places[better] = found[better], place
    return best, places


def _shifted(state: np.ndarray, units: int) -> np.ndarray:
    """What was reached with so many units less."""
    if units >= len(state):
        return np.full_like(state, -np.inf)
    return np.concatenate([np.full(units, -np.inf), state[: len(state) - units]])
