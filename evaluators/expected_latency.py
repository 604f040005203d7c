"""Lat(α): the latency that a distribution over candidates expects, with its gradient (Sec. III-C).

    Lat(α) = fixed + Σ_l Σ_j θ_lj · Lat(OP_lj)            [ms]

Slices of one activation exchange their words in the same rounds: what messages take counts once, for the candidate that
takes the most of them, and Lat(α) has the expectation of that maximum.

The entries come from the latency table of one (device, protocol); θ = softmax(α) comes from the search. The same object
is a profiler for NNI's own tools: `profile(sample)` for filters and `expression` for expectation penalties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from nni.mutable import Categorical, MutableExpression
from nni.nas.profiler import ExpressionProfiler
from torch import Tensor

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program.operators import comparison_count, relu_count

from .shared_messages import shared_messages
from .space_operators import SpaceOperators


class CandidateCost(Protocol):
    """What one candidate costs, as the latency table prices it."""

    @property
    def latency_ms(self) -> float: ...

    @property
    def comparisons(self) -> int: ...

    @property
    def message_ms(self) -> float: ...


class PricedChoices(Protocol):
    """The part of the latency table that a search reads."""

    @property
    def entries(self) -> Mapping[str, Mapping[str, CandidateCost]]: ...

    @property
    def fixed_ms(self) -> float: ...


class ExpectedLatency(ExpressionProfiler):
    """Latency in ms of one architecture, or of a distribution over architectures.

    Args:
        table: the latency table; `entries[label][candidate].latency_ms` and `fixed_ms` are read.
        relus: ReLU activations of each candidate, `relus[label][candidate]`; counted as zero where absent.
        fixed_relus: ReLU activations outside of every choice.
        fixed_comparisons: comparisons outside of every choice.
        slices: label of a slice -> the activation that it is a slice of.

    Attributes:
        milliseconds: label -> candidate -> ms; of a slice without what messages take.
        messages: activation that is cut -> the messages of its slices.

    Example:
        >>> latency = ExpectedLatency(table)                                         # doctest: +SKIP
        >>> latency({"act1": torch.softmax(alpha, 0)}, {"act1": ["relu", "x2act"]})  # doctest: +SKIP
    """

    def __init__(
        self,
        table: PricedChoices,
        relus: Mapping[str, Mapping[str, int]] | None = None,
        fixed_relus: int = 0,
        fixed_comparisons: int = 0,
        slices: Mapping[str, str] | None = None,
    ) -> None:
        self.table = table
        self.fixed_ms = float(table.fixed_ms)
        slices = slices or {}
        message_ms = {
            label: {name: float(cost.message_ms) for name, cost in table.entries[label].items()} for label in slices
        }
        self.messages = shared_messages(message_ms, slices)
        self.milliseconds: dict[str, dict[str, float]] = {
            label: {
                candidate: float(cost.latency_ms - (cost.message_ms if label in slices else 0.0))
                for candidate, cost in candidates.items()
            }
            for label, candidates in table.entries.items()
        }
        self.comparison_counts: dict[str, dict[str, int]] = {
            label: {candidate: int(cost.comparisons) for candidate, cost in candidates.items()}
            for label, candidates in table.entries.items()
        }
        self._relus = {label: dict(counts) for label, counts in (relus or {}).items()}
        self._fixed_relus, self.fixed_comparisons = fixed_relus, fixed_comparisons
        self._last_prices: tuple[object, Tensor] | None = None
        self.expression = self._as_expression()

    @classmethod
    def of_space(cls, operators: SpaceOperators, table: PricedChoices) -> ExpectedLatency:
        """Lat(α) of a described space, with the ReLU counts of its candidates."""
        relus = {
            label: {candidate: relu_count(shape) for candidate, shape in candidates.items()}
            for label, candidates in operators.choices.items()
        }
        fixed = [operator.shape for operator in operators.fixed]
        counted = sum(map(relu_count, fixed)), sum(map(comparison_count, fixed))
        return cls(table, relus, *counted, operators.slices)

    def __call__(self, theta: Mapping[str, Tensor], candidates: Mapping[str, Sequence[str]] | None = None) -> Tensor:
        """Lat(α) in ms, a scalar tensor with a gradient with respect to θ.

        Args:
            theta: label -> probabilities [candidates of the label], each summing to one.
            candidates: the order of the probabilities; the table's own order where absent.
        """
        if not theta:
            return torch.tensor(self.fixed_ms)
        probabilities = torch.cat(list(theta.values()))
        known: Mapping[str, Sequence[str] | Mapping[str, float]] = candidates or self.milliseconds
        order = tuple((label, tuple(known.get(label, ()))) for label in theta)
        expected = probabilities @ self._prices(order, probabilities) + self.fixed_ms
        for shared in self.messages.values():
            expected = expected + shared.expected_ms(theta, dict(order))
        return expected

    def _prices(self, order: tuple[tuple[str, tuple[str, ...]], ...], like: Tensor) -> Tensor:
        """The milliseconds of these candidates in this order, in the type and on the device of `like`."""
        key = (order, like.dtype, like.device)
        if self._last_prices is None or self._last_prices[0] != key:
            self.check_covers(dict(order))
            prices = [self.milliseconds[label][name] for label, names in order for name in names]
            self._last_prices = key, torch.tensor(prices, dtype=like.dtype, device=like.device)
        return self._last_prices[1]

    def check_covers(self, candidates: Mapping[str, Sequence[str] | Mapping[str, float]]) -> None:
        """Refuse choices that the table does not price, and prices without a choice."""
        for label, names in candidates.items():
            if label not in self.milliseconds:
                raise Refusal(f"the latency table has no entry for the choice {label}")
            missing = [name for name in names if name not in self.milliseconds[label]]
            if missing:
                raise Refusal(f"the latency table has no entry for candidate {missing[0]} of the choice {label}")
        unknown = sorted(set(self.milliseconds) - set(candidates))
        if unknown:
            raise Refusal(f"the latency table prices the choice {unknown[0]}, which the search space does not have")

    def profile(self, sample: Mapping[str, str]) -> float:
        """Latency in ms of one architecture, label -> candidate."""
        self.check_covers({label: [candidate] for label, candidate in sample.items()})
        own_ms = self.fixed_ms + sum(self.milliseconds[label][candidate] for label, candidate in sample.items())
        return own_ms + sum(shared.of(sample) for shared in self.messages.values())

    def relus(self, sample: Mapping[str, str]) -> int:
        """ReLU activations of one architecture and one image."""
        return self._fixed_relus + sum(
            self._relus.get(label, {}).get(candidate, 0) for label, candidate in sample.items()
        )

    def comparisons(self, sample: Mapping[str, str]) -> int:
        """Comparisons of one architecture and one image."""
        return self.fixed_comparisons + sum(
            self.comparison_counts[label][candidate] for label, candidate in sample.items()
        )

    def bounds_ms(self) -> tuple[float, float]:
        """Latency in ms of the fastest and of the slowest architecture."""
        cut = {label for shared in self.messages.values() for label in shared.labels}
        whole = [prices.values() for label, prices in self.milliseconds.items() if label not in cut]
        together = [shared.bounds_ms(self.milliseconds) for shared in self.messages.values()]
        fastest = self.fixed_ms + sum(map(min, whole)) + sum(least for least, _ in together)
        slowest = self.fixed_ms + sum(map(max, whole)) + sum(most for _, most in together)
        return fastest, slowest

    def comparison_bounds(self) -> tuple[int, int]:
        """The fewest and the most comparisons of an architecture."""
        counts = [candidates.values() for candidates in self.comparison_counts.values()]
        return self.fixed_comparisons + sum(map(min, counts)), self.fixed_comparisons + sum(map(max, counts))

    def comparison_ms(self) -> float:
        """What the choices can save in ms over the comparisons that they can save."""
        (fastest, slowest), (least, most) = self.bounds_ms(), self.comparison_bounds()
        return (slowest - fastest) / max(most - least, 1)

    def fastest(self) -> dict[str, str]:
        """The architecture of the least latency."""
        return self.cheapest(self.milliseconds)

    def cheapest(self, costs: Mapping[str, Mapping[str, float]], message_weight: float = 1.0) -> dict[str, str]:
        """The architecture of the least Σ costs + `message_weight` · ms of the messages that slices share."""
        chosen = {label: min(candidates, key=candidates.__getitem__) for label, candidates in costs.items()}
        for shared in self.messages.values():
            chosen |= shared.cheapest(costs, message_weight)
        return chosen

    def expected_comparisons(self, theta: Mapping[str, Tensor], candidates: Mapping[str, Sequence[str]]) -> Tensor:
        """Σ_l Σ_j θ_lj · comparisons_lj with its gradient, what is always compared included."""
        counts = [self.comparison_counts[label][name] for label, names in candidates.items() for name in names]
        probabilities = torch.cat([theta[label] for label in candidates])
        return probabilities @ probabilities.new_tensor(counts) + self.fixed_comparisons

    def _as_expression(self) -> MutableExpression | float:
        """The same sum over NNI's categorical variables, for tools that evaluate expressions."""
        expression: MutableExpression | float = self.fixed_ms
        for label, prices in self.milliseconds.items():
            choice = Categorical(list(prices), label=label)
            expression = MutableExpression.switch_case(choice, dict(prices)) + expression
        for shared in self.messages.values():
            expression = shared.expression() + expression
        return expression
