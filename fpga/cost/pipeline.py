"""Pipelined time of one operator: while one tile is on the network, the next one is computed.

Cut into t equal tiles, an operator whose phases last d_1 ... d_n takes

    Σ d_i / t  +  messages · T  +  (1 − 1/t) · max_r D_r

where D_r is the whole work of resource r (array, comparator, alu, the network in either direction): the first tile goes
through every phase, then the busiest resource sets the pace. It is exact for a permutation flow shop, where every phase
has a resource of its own, and a lower estimate where phases share one; a schedule of tiles is the compiler's business.
"""

from __future__ import annotations

from collections import defaultdict

from ..devices import Device
from ..program.operators import OperatorShape
from .latency import MS_PER_S
from .protocol import Compute, ProtocolCosts

TILES = 8


def pipelined_ms(
    shape: OperatorShape, device: Device, protocol: ProtocolCosts, batch: int = 1, tiles: int = TILES
) -> float:
    """Latency of one operator of a network in ms with `tiles` overlapping tiles; `tiles` = 1 is sequential."""
    work_s: defaultdict[str, float] = defaultdict(float)
    serial_s, messages = 0.0, 0
    for primitive in protocol.primitives(shape):
        for phase in protocol.phases(primitive, device, batch):
            if isinstance(phase, Compute):
                duration = phase.cycles / device.clock_hz
                work_s[phase.kernel] += duration
            else:
                duration = max(phase.bytes_sent) / device.bandwidth_bytes_per_s
                for party, size in enumerate(phase.bytes_sent):
                    work_s[f"send {party}"] += size / device.bandwidth_bytes_per_s
                messages += 1
            serial_s += duration
    pace_s = max(work_s.values(), default=0.0)
    return MS_PER_S * (serial_s / tiles + messages * device.message_latency_s + (1 - 1 / tiles) * pace_s)
