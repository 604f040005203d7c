"""Device descriptions: boards and networks as YAML, read into frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Two equal boards and the network between them."""

    name: str
    clock_hz: float
    bandwidth_bytes_per_s: float
    message_latency_s: float
    bus_bytes_per_cycle: int
    buffer_bytes: int
