"""The map bandwidth x round-trip time on which comparison stops being the bottleneck.

A latency is linear in 1 / bandwidth and in the message latency, so that one pass over the operators gives all of it:

    t(bandwidth, rtt) = compute + longest bytes / bandwidth + rounds · rtt / 2

A round is one message in each direction at once: half a round trip. Comparison is called the bottleneck where replacing
every ReLU by X2act and every MaxPool by AvgPool would at least halve the latency.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..devices import Device
from ..program.operators import NamedOperator, OperatorShape
from .explain import polynomial_counterpart
from .latency import MS_PER_S, operator_cost, total_cost
from .protocol import ProtocolCosts

BANDWIDTHS_BYTES_PER_S = np.logspace(6, 11, 41)
ROUND_TRIPS_S = np.logspace(-6, 0, 37)
BOTTLENECK_SPEED_UP = 2.0


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
        latency_ms: of the network as it is, [round trips, bandwidths].
        speed_up: that latency over the one with every ReLU and MaxPool replaced, same shape.
    """

    protocol: str
    bandwidths_bytes_per_s: np.ndarray
    round_trips_s: np.ndarray
    latency_ms: np.ndarray
    speed_up: np.ndarray

    @property
    def saved_share(self) -> np.ndarray:
        """Share of the latency that the replacement takes away."""
        return 1 - 1 / self.speed_up

    def bottleneck_bands(self, row: int) -> list[tuple[float, float]]:
        """Bands of bandwidth, (lowest, highest) in B/s, in which comparison is the bottleneck at this round trip."""
        inside = np.concatenate(([False], self.speed_up[row] >= BOTTLENECK_SPEED_UP, [False]))
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        grid = self.bandwidths_bytes_per_s
        return [(float(grid[start]), float(grid[stop - 1])) for start, stop in zip(edges[::2], edges[1::2])]


def sweep(
    operators: Sequence[NamedOperator],
    device: Device,
    protocol: ProtocolCosts,
    batch: int = 1,
    bandwidths_bytes_per_s: np.ndarray = BANDWIDTHS_BYTES_PER_S,
    round_trips_s: np.ndarray = ROUND_TRIPS_S,
) -> Sweep:
    """Price a network on every network of the grid; the boards stay as they are."""
    shapes = [operator.shape for operator in operators]
    present = _line(shapes, device, protocol, batch)
    replaced = _line((polynomial_counterpart(shape) or shape for shape in shapes), device, protocol, batch)
    latency_ms = present.latency_ms(bandwidths_bytes_per_s, round_trips_s)
    speed_up = latency_ms / replaced.latency_ms(bandwidths_bytes_per_s, round_trips_s)
    return Sweep(protocol.name, bandwidths_bytes_per_s, round_trips_s, latency_ms, speed_up)


def _line(shapes: Iterable[OperatorShape], device: Device, protocol: ProtocolCosts, batch: int) -> Line:
    unit = device.with_network(bandwidth_bytes_per_s=1.0, message_latency_s=0.0)
    total = total_cost(operator_cost(shape, unit, protocol, batch) for shape in shapes)
    return Line(total.compute_ms / MS_PER_S, total.transfer_ms / MS_PER_S, total.rounds)
