"""Meeting a latency: λ adapted while the search runs, and the most probable network within the target at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency

#: The derived network lies within this fraction below the target, where the space has such a network.
TOLERANCE = 0.05
_GRID = 4000


class LatencyController:
    """Proportional-integral control of λ from the error e = Lat(α) / target − 1, once per α update.

    The integral part learns the multiplier at which accuracy and latency balance at the target: it grows by e^(gain·e).
    The proportional part answers at once, in units of one over the latency that the gates can save; below the target it
    may turn λ negative, so that the mixture comes back up.

    Args:
        latency_weight: the integral part to start from, in 1/ms; 0 takes one over what the gates can save.
        target_ms: the latency to meet.
        gain: of the integral part.
        stiffness: of the proportional part.
    """

    def __init__(
        self,
        latency: ExpectedLatency,
        latency_weight: float,
        target_ms: float,
        gain: float = 0.1,
        stiffness: float = 10.0,
    ) -> None:
        fastest, slowest = latency.bounds_ms()
        if not fastest <= target_ms:
            raise Refusal(f"target_latency_ms is {target_ms:g}, but the space's fastest network takes {fastest:.4g} ms")
        if slowest < (1.0 - TOLERANCE) * target_ms:
            raise Refusal(
                f"target_latency_ms is {target_ms:g}, but the space's slowest network takes {slowest:.4g} ms: "
                "search without a target"
            )
        self.target_ms = target_ms
        self.gain, self.stiffness = gain, stiffness
        self._natural = 1.0 / max(slowest - fastest, 1e-9)
        self.integral = latency_weight or self._natural

    def update(self, expected_ms: float) -> float:
        """One step of control at the current Lat(α); returns λ for the next α update, in 1/ms."""
        error = expected_ms / self.target_ms - 1.0
        low, high = self._natural * 1e-4, self._natural * 1e4
        self.integral = min(max(self.integral * math.exp(self.gain * error), low), high)
        return max(self.integral + self.stiffness * self._natural * error, -self._natural)


def derive_within(
    theta: Mapping[str, Mapping[str, float]], latency: ExpectedLatency, target_ms: float
) -> dict[str, str]:
    """The most probable network, Π_l θ_l, among those whose latency lies in [(1 − 5 %) · target, target].

    Exact up to a grid of 1/4000 of the target, by dynamic programming over the gates. Where no network lies in the
    window, the slowest one below it.
    """
    labels = list(theta)
    budget = target_ms - latency.fixed_ms
    unit = max(budget, 1e-9) / _GRID
    # Best log-probability of the gates so far for every spent number of units; costs are rounded up, so that the sum
    # never understates the latency.
    best: dict[int, tuple[float, tuple[str, ...]]] = {0: (0.0, ())}
    for label in labels:
        following: dict[int, tuple[float, tuple[str, ...]]] = {}
        for spent, (score, chosen) in best.items():
            for candidate, probability in theta[label].items():
                total = spent + math.ceil(latency.milliseconds[label][candidate] / unit - 1e-9)
                value = score + math.log(max(probability, 1e-30))
                if total <= _GRID and (total not in following or following[total][0] < value):
                    following[total] = (value, (*chosen, candidate))
        best = following
    if not best:
        return {label: min(prices, key=prices.__getitem__) for label, prices in _prices(labels, latency).items()}
    networks = {units: dict(zip(labels, chosen)) for units, (_, chosen) in best.items()}
    lowest = (1.0 - TOLERANCE) * target_ms
    within = [units for units, network in networks.items() if latency.profile(network) >= lowest]
    winner = max(within, key=lambda units: best[units][0]) if within else max(networks)
    return networks[winner]


def _prices(labels: list[str], latency: ExpectedLatency) -> dict[str, dict[str, float]]:
    return {label: latency.milliseconds[label] for label in labels}
