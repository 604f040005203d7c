"""What operators cost on a device under a protocol, and the latency lookup table of a search space."""

from .latency import OperatorCost, operator_cost, phase_cost
from .lut import LatencyTable, build_lut

__all__ = ["LatencyTable", "OperatorCost", "build_lut", "operator_cost", "phase_cost"]
