"""What a derived network may cost, in milliseconds or in comparisons, and the best network within it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency

from .multiple_choice import Block, Knapsack
from .options import SearchOptions

Values = Mapping[str, Mapping[str, float]]
#: The derived network lies within this fraction below the target, where the space has such a network.
TOLERANCE = 0.05
#: Units of a latency budget, and of one where activations are cut into slices, each of which is rounded up.
_GRID, _FINE_GRID = 4000, 40_000


class Budget(ABC):
    """An upper bound of what one architecture costs.

    Args:
        latency: of the space.
        target: the bound.
    """

    #: Its name among the options of a search.
    option: str

    def __init__(self, latency: ExpectedLatency, target: float) -> None:
        self.latency, self.target = latency, target

    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The least and the most that an architecture costs."""

    @abstractmethod
    def of(self, choices: Mapping[str, str]) -> float:
        """What one architecture costs."""

    @abstractmethod
    def expected(self, theta: Mapping[str, Tensor], candidates: Mapping[str, Sequence[str]]) -> Tensor:
        """What a distribution over architectures costs, with its gradient."""

    @abstractmethod
    def savable_ms(self) -> float:
        """Milliseconds between the architectures that cost the most and the least."""

    @abstractmethod
    def penalty_ms(self, expected: Tensor) -> Tensor:
        """What λ multiplies in the loss of a search, from what the mixture is expected to cost."""

    @abstractmethod
    def knapsack(self, values: Values) -> Knapsack:
        """The best networks within the target, by the sum of their candidates' values."""

    @abstractmethod
    def sentence(self, cost: float) -> str:
        """A cost in words: `takes 5 ms`."""

    def cheapest(self) -> dict[str, str]:
        """An architecture that costs the least."""
        return self.latency.fastest()

    def check(self) -> None:
        """Refuse a target that no network of the space meets, or that all of them meet by far."""
        least, most = self.bounds()
        if not least <= self.target:
            raise Refusal(f"{self.option} is {self.target:g}, but the space's fastest network {self.sentence(least)}")
        if most < (1.0 - TOLERANCE) * self.target:
            raise Refusal(
                f"{self.option} is {self.target:g}, but the space's slowest network {self.sentence(most)}: "
                "search without a target"
            )

    def derive(self, values: Values) -> dict[str, str]:
        """The network of the largest sum of values among those that cost [(1 − 5 %) · target, target].

        Where no network does, the most expensive one below.
        """
        knapsack = self.knapsack(values)
        reached = [int(units) for units in np.flatnonzero(knapsack.best > -np.inf)]
        if not reached:
            return self.cheapest()
        lowest = (1.0 - TOLERANCE) * self.target
        for units in sorted(reached, key=lambda units: -knapsack.best[units]):
            if self._most(units) >= lowest and self.of(choices := knapsack.choices(units)) >= lowest:
                return choices
        return knapsack.choices(max(reached))

    @abstractmethod
    def _most(self, units: int) -> float:
        """The most that a network of so many units costs."""


class LatencyBudget(Budget):
    """Milliseconds: exact up to a grid, to which the cost of every candidate is rounded up."""

    option = "target_latency_ms"

    def bounds(self) -> tuple[float, float]:
        return self.latency.bounds_ms()

    def of(self, choices: Mapping[str, str]) -> float:
        return self.latency.profile(choices)

    def expected(self, theta: Mapping[str, Tensor], candidates: Mapping[str, Sequence[str]]) -> Tensor:
        return self.latency(theta, candidates)

    def savable_ms(self) -> float:
        fastest, slowest = self.bounds()
        return slowest - fastest

    def penalty_ms(self, expected: Tensor) -> Tensor:
        return expected

    def knapsack(self, values: Values) -> Knapsack:
        unit = self._unit_ms()

        def units(milliseconds: Mapping[str, float]) -> dict[str, int]:
            return {name: math.ceil(ms / unit - 1e-9) for name, ms in milliseconds.items()}

        costs = {label: units(prices) for label, prices in self.latency.milliseconds.items()}
        shared = self.latency.messages.values()
        blocks = [_block(each.labels, values, costs, units(each.milliseconds)) for each in shared]
        cut = {label for each in shared for label in each.labels}
        blocks += [_block((label,), values, costs) for label in values if label not in cut]
        return Knapsack(blocks, self._grid())

    def sentence(self, cost: float) -> str:
        return f"takes {cost:.4g} ms"

    def _most(self, units: int) -> float:
        return self.latency.fixed_ms + units * self._unit_ms()

    def _unit_ms(self) -> float:
        return max(self.target - self.latency.fixed_ms, 1e-9) / self._grid()

    def _grid(self) -> int:
        return _FINE_GRID if self.latency.messages else _GRID


class ComparisonBudget(Budget):
    """Comparisons, those of poolings and of what is not chosen included: exact."""

    option = "target_comparisons"

    def bounds(self) -> tuple[float, float]:
        return self.latency.comparison_bounds()

    def of(self, choices: Mapping[str, str]) -> float:
        return self.latency.comparisons(choices)

    def expected(self, theta: Mapping[str, Tensor], candidates: Mapping[str, Sequence[str]]) -> Tensor:
        return self.latency.expected_comparisons(theta, candidates)

    def savable_ms(self) -> float:
        least, most = self.bounds()
        return self.latency.comparison_ms() * (most - least)

    def penalty_ms(self, expected: Tensor) -> Tensor:
        return self.latency.comparison_ms() * expected

    def knapsack(self, values: Values) -> Knapsack:
        counts = self.latency.comparison_counts
        unit = self._unit()
        costs = {
            label: {name: count // unit for name, count in candidates.items()} for label, candidates in counts.items()
        }
        room = int(self.target) - self.latency.fixed_comparisons
        return Knapsack([_block((label,), values, costs) for label in values], max(room, -1) // unit)

    def cheapest(self) -> dict[str, str]:
        counts = self.latency.comparison_counts
        return {label: min(candidates, key=candidates.__getitem__) for label, candidates in counts.items()}

    def sentence(self, cost: float) -> str:
        return f"makes {cost:.0f} comparisons"

    def _unit(self) -> int:
        """What divides every count: so many comparisons are one unit."""
        counts = self.latency.comparison_counts.values()
        return math.gcd(*(count for candidates in counts for count in candidates.values())) or 1

    def _most(self, units: int) -> float:
        return units * self._unit() + self.latency.fixed_comparisons


def budget_of(latency: ExpectedLatency, options: SearchOptions) -> Budget | None:
    """The budget that the options of a search name, None where they name none."""
    if options.target_latency_ms is not None:
        return LatencyBudget(latency, options.target_latency_ms)
    if options.target_comparisons is not None:
        return ComparisonBudget(latency, options.target_comparisons)
    return None


def most_probable(theta: Values, budget: Budget) -> dict[str, str]:
    """The most probable network, Π_l θ_l, within a budget (see `Budget.derive`)."""
    return budget.derive(
        {
            label: {name: math.log(max(probability, 1e-30)) for name, probability in candidates.items()}
            for label, candidates in theta.items()
        }
    )


def _block(
    labels: Sequence[str],
    values: Values,
    costs: Mapping[str, Mapping[str, int]],
    levels: Mapping[str, int] | None = None,
) -> Block:
    return Block(
        {label: values[label] for label in labels},
        {label: {name: costs[label][name] for name in values[label]} for label in labels},
        levels or {},
    )
