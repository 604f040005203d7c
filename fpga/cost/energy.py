"""Energy of an inference, under the assumption that the device file states."""

from __future__ import annotations

from dataclasses import dataclass

from ..devices import Device
from .latency import MS_PER_S, OperatorCost


@dataclass(frozen=True)
class Energy:
    """Joules of both boards, and in words what that figure assumes."""

    joules: float
    assumption: str


def inference_energy(cost: OperatorCost, device: Device) -> Energy:
    """E = 2 · (P_board · t_compute + P_idle · t_communication): both boards work and wait together."""
    millijoules = 2 * (device.board_power_w * cost.compute_ms + device.idle_power_w * cost.communication_ms)
    known = [device.provenance[key].kind for key in ("board_power_w", "idle_power_w") if key in device.provenance]
    assumption = (
        f"two boards of {device.board_power_w:g} W while computing and {device.idle_power_w:g} W while communicating"
        f" ({', '.join(sorted(set(known))) or 'assumed'}); network equipment not counted"
    )
    return Energy(millijoules / MS_PER_S, assumption)
