"""The map bandwidth x round-trip time on which comparison stops being the bottleneck.

A latency is linear in 1 / bandwidth and in the message latency, so that one pass over the operators gives all of it:

    t(bandwidth, rtt) = compute + longest bytes / bandwidth + rounds · rtt / 2

A round is one message in each direction at once: half a round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..devices import Device
from ..operators import NamedOperator, OperatorShape, comparison_count
from ..protocols.base import Protocol
from .explain import polynomial_counterpart
from .latency import MS_PER_S, operator_cost, total_cost

BANDWIDTHS_BYTES_PER_S = np.logspace(6, 11, 41)
ROUND_TRIPS_S = np.logspace(-6, 0, 37)
#: From this share on, comparison is called the bottleneck.
BOTTLENECK_SHARE = 0.5


@dataclass(frozen=True)
class Line:
    """A latency as a function of the network: seconds of computation, bytes one after the other, rounds."""

    compute_s: float
    serial_bytes: float
    rounds: int

    def latency_ms(self, bandwidths_bytes_per_s: np.ndarray, round_trips_s: np.ndarray) -> np.ndarray:
        """Latency in ms, [round trips, bandwidths]."""
        transfer_s = self.serial_bytes / bandwidths_bytes_per_s[None, :]
        return MS_PER_S * (self.compute_s + transfer_s + self.rounds * round_trips_s[:, None] / 2)


@dataclass(frozen=True)
class Sweep:
    """One protocol's map for one network.

    Attributes:
        comparison_share: share of the latency spent in ReLU and MaxPool, [round trips, bandwidths].
        speed_up: latency as it is over latency with every ReLU and MaxPool replaced, same shape.
    """

    protocol: str
    bandwidths_bytes_per_s: np.ndarray
    round_trips_s: np.ndarray
    latency_ms: np.ndarray
    comparison_share: np.ndarray
    speed_up: np.ndarray

    def threshold_bytes_per_s(self, row: int) -> float | None:
        """Smallest bandwidth of this round trip at which comparison is no longer the bottleneck, None if nowhere."""
        free = np.flatnonzero(self.comparison_share[row] < BOTTLENECK_SHARE)
        return float(self.bandwidths_bytes_per_s[free[0]]) if free.size else None


def sweep(
    operators: Sequence[NamedOperator],
    device: Device,
    protocol: Protocol,
    batch: int = 1,
    bandwidths_bytes_per_s: np.ndarray = BANDWIDTHS_BYTES_PER_S,
    round_trips_s: np.ndarray = ROUND_TRIPS_S,
) -> Sweep:
    """Price a network on every network of the grid; the boards stay as they are."""
    shapes = [operator.shape for operator in operators]
    comparing = _line((shape for shape in shapes if comparison_count(shape)), device, protocol, batch)
    other = _line((shape for shape in shapes if not comparison_count(shape)), device, protocol, batch)
    replaced = _line((polynomial_counterpart(shape) or shape for shape in shapes), device, protocol, batch)
    grid = (bandwidths_bytes_per_s, round_trips_s)
    comparison_ms = comparing.latency_ms(*grid)
    latency_ms = comparison_ms + other.latency_ms(*grid)
    return Sweep(
        protocol.name,
        bandwidths_bytes_per_s,
        round_trips_s,
        latency_ms,
        comparison_ms / latency_ms,
        latency_ms / replaced.latency_ms(*grid),
    )


def _line(shapes: Iterable[OperatorShape], device: Device, protocol: Protocol, batch: int) -> Line:
    unit = device.with_network(bandwidth_bytes_per_s=1.0, message_latency_s=0.0)
    total = total_cost(operator_cost(shape, unit, protocol, batch) for shape in shapes)
    return Line(total.compute_ms / MS_PER_S, total.transfer_ms / MS_PER_S, total.rounds)
