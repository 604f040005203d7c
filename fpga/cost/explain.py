"""Where the time goes, and which replacement would save most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..devices import Device
from ..program.operators import AvgPool, MaxPool, NamedOperator, OperatorShape, PatchRelu, Relu, Relu6, X2act
from .latency import OperatorCost, operator_cost, together
from .protocol import ProtocolCosts


@dataclass(frozen=True)
class Saving:
    """Replacing one comparison operator by its polynomial counterpart."""

    name: str
    shape: OperatorShape
    replacement: OperatorShape
    saved_ms: float
    saved_comparisons: int
    #: Nats per image that it is expected to change, where a search measured that.
    distortion: float | None = None

    @property
    def distortion_per_ms(self) -> float | None:
        """What a saved millisecond costs in accuracy; None where that is not known or nothing is saved."""
        return None if self.distortion is None or self.saved_ms <= 0 else self.distortion / self.saved_ms

    @property
    def saved_us_per_comparison(self) -> float:
        return 1e3 * self.saved_ms / self.saved_comparisons


def polynomial_counterpart(shape: OperatorShape) -> OperatorShape | None:
    """X2act for a ReLU, AvgPool for a MaxPool; None for what compares nothing."""
    match shape:
        case Relu(elements=elements) | Relu6(elements=elements):
            return X2act(elements)
        case PatchRelu():
            return X2act(shape.elements)
        case MaxPool():
            return AvgPool(shape.channels, shape.height, shape.width, shape.kernel, shape.stride, shape.padding)
    return None


def savings(
    operators: Sequence[NamedOperator],
    device: Device,
    protocol: ProtocolCosts,
    batch: int = 1,
    distortions: Mapping[str, float] | None = None,
) -> list[Saving]:
    """What each single replacement saves, the best first.

    Costs add up, so that replacements are independent, but for the rounds that slices of one activation share: the
    last slice that needs them saves them. The best saves most, or, where `distortions` says by name what replacements
    are expected to change, costs least of it per saved millisecond.
    """
    costs = {operator.name: operator_cost(operator.shape, device, protocol, batch) for operator in operators}
    activations: dict[str, list[str]] = {}
    for operator in operators:
        activations.setdefault(operator.activation or operator.name, []).append(operator.name)
    found = []
    for operator in operators:
        replacement = polynomial_counterpart(operator.shape)
        if replacement is None:
            continue
        then = operator_cost(replacement, device, protocol, batch)
        beside = [costs[name] for name in activations[operator.activation or operator.name] if name != operator.name]
        now = costs[operator.name]
        saved_ms = together([now, *beside]).latency_ms - together([then, *beside]).latency_ms
        lost = None if distortions is None else distortions.get(operator.name)
        found.append(Saving(operator.name, operator.shape, replacement, saved_ms, now.comparisons, lost))
    known = [(saving.distortion_per_ms, saving) for saving in found]
    return [
        saving for _, saving in sorted(known, key=lambda pair: (pair[0] is None, pair[0] or 0.0, -pair[1].saved_ms))
    ]


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
