"""What the cost model knows of a device: two equal boards and the network between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from .accelerator import Accelerator
from .constants import constant

#: Where a constant comes from: a document, a measurement, a fit to published figures, or nothing better than judgement.
ProvenanceKind = Literal["given", "measured", "fitted", "assumed"]


@dataclass(frozen=True)
class Provenance:
    """How a constant is known: and where, how or to what, in words."""

    kind: ProvenanceKind
    source: str


@dataclass(frozen=True)
class Device:
    """Two equal boards and the network between them.

    All constants are positive (a latency may be 0). A rate per cycle may be fractional: a fitted rate is an average.
    With an `accelerator` the executed protocols take the cycles of its kernels instead of the rates.
    """

    name: str
    clock_hz: float = constant("accelerator clock, Hz")
    bus_bytes_per_cycle: int = constant("width of one memory port, bytes", whole=True)
    ddr_bytes_per_s: float = constant("peak bandwidth of the board's memory, B/s")
    ddr_efficiency: float = constant("share of the peak that long bursts reach", at_most=1.0)
    buffer_bytes: int = constant("on-chip memory for tiles, bytes", whole=True, at_most=2**32 - 1)
    dsp_blocks: int = constant("DSP blocks of the chip", whole=True)
    luts: int = constant("look-up tables of the chip", whole=True)
    bram_blocks: int = constant("36-Kbit block RAMs of the chip", whole=True)
    array_multiplications_per_cycle: float = constant("ring multiplications per cycle of a dense convolution")
    depthwise_multiplications_per_cycle: float = constant("ring multiplications per cycle of a depthwise convolution")
    comparator_operations_per_cycle: float = constant("elementary operations per cycle of the comparison kernel")
    aes_blocks_per_cycle: float = constant("AES-128 blocks per cycle of the comparison kernel")
    alu_operations_per_cycle: float = constant("elementwise ring operations per cycle")
    bandwidth_bytes_per_s: float = constant("network bandwidth in each direction, B/s")
    message_latency_s: float = constant("time from sending a message to its arrival, s", zero=True)
    board_power_w: float = constant("power of one board while it works, W")
    idle_power_w: float = constant("power of one board while it waits for the network, W")
    accelerator: Accelerator | None = None
    description: str = ""
    provenance: Mapping[str, Provenance] = field(default_factory=dict, compare=False)

    def constants(self) -> dict[str, float]:
        """Every constant by name, those of the accelerator too: what a cost depends on."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if "meaning" in item.metadata}
        return own | (self.accelerator.constants() if self.accelerator else {})

    def with_network(self, bandwidth_bytes_per_s: float, message_latency_s: float) -> Device:
        """The same boards on another network."""
        return replace(self, bandwidth_bytes_per_s=bandwidth_bytes_per_s, message_latency_s=message_latency_s)
