"""What one operator costs: the phases of its protocol, added up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rrnet_nni.base.errors import Refusal

from ..devices import Device
from ..program.operators import OperatorShape, comparison_count
from .protocol import Compute, Phase, ProtocolCosts

MS_PER_S = 1e3


@dataclass(frozen=True)
class OperatorCost:
    """Sequential cost of an operator: nothing overlaps, so that costs of operators add up.

    `bytes_sent` and `offline_bytes` are (party 0, party 1); offline bytes are what is handed out beforehand, and
    `offline_ms` how long the larger part takes on a link like the parties' own (its generation is not counted).
    `setup_bytes` are sent once per model. Neither counts in the latency.
    """

    compute_ms: float = 0.0
    transfer_ms: float = 0.0
    message_ms: float = 0.0
    rounds: int = 0
    bytes_sent: tuple[int, int] = (0, 0)
    offline_bytes: tuple[int, int] = (0, 0)
    setup_bytes: tuple[int, int] = (0, 0)
    comparisons: int = 0
    offline_ms: float = 0.0

    @property
    def communication_ms(self) -> float:
        return self.transfer_ms + self.message_ms

    @property
    def latency_ms(self) -> float:
        return self.compute_ms + self.communication_ms

    def __add__(self, other: OperatorCost) -> OperatorCost:
        return OperatorCost(
            self.compute_ms + other.compute_ms,
            self.transfer_ms + other.transfer_ms,
            self.message_ms + other.message_ms,
            self.rounds + other.rounds,
            _pair_sum(self.bytes_sent, other.bytes_sent),
            _pair_sum(self.offline_bytes, other.offline_bytes),
            _pair_sum(self.setup_bytes, other.setup_bytes),
            self.comparisons + other.comparisons,
            self.offline_ms + other.offline_ms,
        )


def _pair_sum(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    return (left[0] + right[0], left[1] + right[1])


def phase_cost(phase: Phase, device: Device) -> OperatorCost:
    """Cost of one phase; both directions of the network are independent, so the longer message counts."""
    if isinstance(phase, Compute):
        return OperatorCost(compute_ms=MS_PER_S * phase.cycles / device.clock_hz)
    return OperatorCost(
        transfer_ms=MS_PER_S * max(phase.bytes_sent) / device.bandwidth_bytes_per_s,
        message_ms=MS_PER_S * device.message_latency_s,
        rounds=1,
        bytes_sent=phase.bytes_sent,
    )


def total_cost(costs: Iterable[OperatorCost]) -> OperatorCost:
    """Sum of costs, in their order."""
    return sum(costs, OperatorCost())


def together(costs: Sequence[OperatorCost]) -> OperatorCost:
    """Cost of the slices of one activation, which exchange their words in the same rounds: those of the longest."""
    total = total_cost(costs)
    return replace(
        total,
        rounds=max((cost.rounds for cost in costs), default=0),
        message_ms=max((cost.message_ms for cost in costs), default=0.0),
    )


def operator_cost(shape: OperatorShape, device: Device, protocol: ProtocolCosts, batch: int = 1) -> OperatorCost:
    """Cost of one operator of a network (a convolution with its truncation) on a batch of images.

    Raises:
        Refusal: the batch is not a positive number of images.
    """
    if batch < 1:
        raise Refusal(f"batch: expected at least one image, found {batch}")
    cost = OperatorCost(comparisons=batch * comparison_count(shape))
    for primitive in protocol.primitives(shape):
        for phase in protocol.phases(primitive, device, batch):
            cost = cost + phase_cost(phase, device)
        offline_bytes = protocol.offline_bytes(primitive, batch)
        cost = cost + OperatorCost(
            offline_bytes=offline_bytes,
            setup_bytes=protocol.setup_bytes(primitive),
            offline_ms=MS_PER_S * max(offline_bytes) / device.bandwidth_bytes_per_s,
        )
    return cost
