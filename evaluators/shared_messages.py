"""What the messages of a cut activation take: once, for the candidate that takes the most, however many slices it has.

With m_1 ≥ m_2 ≥ … the milliseconds of the candidates and m_(K+1) = 0, the expectation of the largest is

    E[max] = Σ_i (m_i − m_(i+1)) · (1 − Π_g (1 − Σ_(k ≤ i) θ_gk))

over the slices g: a rank counts where any slice takes a candidate up to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nni.mutable import Categorical, MutableExpression
from torch import Tensor


@dataclass(frozen=True)
class SharedMessages:
    """The messages of one activation.

    Attributes:
        labels: of its slices.
        milliseconds: candidate -> ms, the same for every slice.
    """

    labels: tuple[str, ...]
    milliseconds: Mapping[str, float]

    def of(self, sample: Mapping[str, str]) -> float:
        """Of one architecture, in ms."""
        return max(self.milliseconds[sample[label]] for label in self.labels)

    def expected_ms(self, theta: Mapping[str, Tensor], candidates: Mapping[str, Sequence[str]]) -> Tensor:
        """Of a distribution over architectures, with its gradient: θ label -> [candidates]."""
        ranked = sorted(self.milliseconds, key=lambda name: -self.milliseconds[name])
        rows = [theta[label][[list(candidates[label]).index(name) for name in ranked]] for label in self.labels]
        taken = 1.0 - torch.stack([1.0 - row.cumsum(0) for row in rows]).prod(0)
        prices = torch.tensor([self.milliseconds[name] for name in ranked] + [0.0], dtype=taken.dtype)
        return taken @ (prices[:-1] - prices[1:]).to(taken.device)

    def bounds_ms(self, own: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
        """The least and the most that the activation takes, its candidates' `own` milliseconds included."""
        most = []
        for level in set(self.milliseconds.values()):
            reached = [self._up_to(level, own[label]) for label in self.labels]
            # at least one slice takes a candidate of this level
            at = [max(ms for name, ms in prices.items() if self.milliseconds[name] == level) for prices in reached]
            sums = [max(prices.values()) for prices in reached]
            most.append(sum(sums) + max(one - chosen for one, chosen in zip(at, sums)) + level)
        fastest = self.cheapest(own)
        return sum(own[label][name] for label, name in fastest.items()) + self.of(fastest), max(most)

    def cheapest(self, costs: Mapping[str, Mapping[str, float]], weight: float = 1.0) -> dict[str, str]:
        """The candidates of the least Σ costs + `weight` · ms of the messages."""
        found = []
        for level in set(self.milliseconds.values()):
            chosen = {}
            for label in self.labels:
                allowed = self._up_to(level, costs[label])
                chosen[label] = min(allowed, key=allowed.__getitem__)
            found.append((sum(costs[label][name] for label, name in chosen.items()) + weight * level, chosen))
        return min(found, key=lambda one: one[0])[1]

    def _up_to(self, level: float, prices: Mapping[str, float]) -> dict[str, float]:
        return {name: ms for name, ms in prices.items() if self.milliseconds[name] <= level}

    def expression(self) -> Any:
        """The same over NNI's categorical variables."""
        prices = dict(self.milliseconds)
        choices = (Categorical(list(prices), label=label) for label in self.labels)
        return MutableExpression.max([MutableExpression.switch_case(choice, prices) for choice in choices])


def shared_messages(
    message_ms: Mapping[str, Mapping[str, float]], slices: Mapping[str, str]
) -> dict[str, SharedMessages]:
    """Activation -> the messages of its slices, from what they take of every slice's candidates."""
    labels: dict[str, list[str]] = {}
    for label, activation in slices.items():
        labels.setdefault(activation, []).append(label)
    return {activation: SharedMessages(tuple(names), message_ms[names[0]]) for activation, names in labels.items()}
