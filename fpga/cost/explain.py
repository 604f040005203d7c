"""Where the time goes, and which replacement would save most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..devices import Device
from ..program.operators import AvgPool, MaxPool, NamedOperator, OperatorShape, Relu, Relu6, X2act
from .latency import OperatorCost, operator_cost
from .protocol import ProtocolCosts


@dataclass(frozen=True)
class Saving:
    """Replacing one comparison operator by its polynomial counterpart."""

    name: str
    shape: OperatorShape
    replacement: OperatorShape
    saved_ms: float
    saved_comparisons: int

    @property
    def saved_us_per_comparison(self) -> float:
        return 1e3 * self.saved_ms / self.saved_comparisons


def polynomial_counterpart(shape: OperatorShape) -> OperatorShape | None:
    """X2act for a ReLU, AvgPool for a MaxPool; None for what compares nothing."""
    match shape:
        case Relu(elements=elements) | Relu6(elements=elements):
            return X2act(elements)
        case MaxPool():
            return AvgPool(shape.channels, shape.height, shape.width, shape.kernel, shape.stride, shape.padding)
    return None


def savings(
    operators: Sequence[NamedOperator], device: Device, protocol: ProtocolCosts, batch: int = 1
) -> list[Saving]:
    """What each single replacement saves, the best first; because costs add up, they are independent."""
    found = []
    for operator in operators:
        replacement = polynomial_counterpart(operator.shape)
        if replacement is None:
            continue
        now = operator_cost(operator.shape, device, protocol, batch)
        then = operator_cost(replacement, device, protocol, batch)
        found.append(
            Saving(operator.name, operator.shape, replacement, now.latency_ms - then.latency_ms, now.comparisons)
        )
    return sorted(found, key=lambda saving: -saving.saved_ms)


def bottleneck(total: OperatorCost) -> str:
    """The largest of computation, transfer and message latency, in words."""
    parts = {
        "computation": total.compute_ms,
        "the network's bandwidth": total.transfer_ms,
        "the network's latency": total.message_ms,
    }
    name = max(parts, key=lambda part: parts[part])
    share = parts[name] / total.latency_ms if total.latency_ms else 0.0
    return f"{name} takes {share:.0%} of the time"
