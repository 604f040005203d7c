"""Importers of activations: those that comparisons compute exactly, and those that piecewise quadratics approximate.

Everything that is affine in x and relu(x) takes one comparison per element and breakpoint. HardSwish, Sigmoid, Tanh and
SiLU become `Piecewise` nodes, whose largest error is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import onnx

from ..graph import Combine, PatchRelu, Piecewise, Relu, Shape
from .arithmetic import per_channel
from .importer import Importer, Unsupported, attributes


class _Chain:
    """Emits the nodes of one ONNX node: every step but the last makes a tensor of its own."""

    def __init__(self, graph: Importer, node: onnx.NodeProto, shape: Shape) -> None:
        self._graph, self._node, self._shape = graph, node, shape

    def step(self, kind: type, label: str, inputs: tuple[str, ...], **fields: Any) -> str:
        """A tensor between; `label` tells it from the others of this node."""
        output = f"{self._node.output[0]}.{label}"
        name = self._graph.unique(f"{self._node.name or self._node.output[0]}.{label}")
        self._graph.emit_as(kind, self._node, inputs, self._shape, output, name, **fields)
        return output

    def last(self, kind: type, inputs: tuple[str, ...], **fields: Any) -> None:
        """The node's own output."""
        self._graph.emit(kind, self._node, inputs, self._shape, **fields)

    def last_sum(
        self, inputs: tuple[str, ...], scales: tuple[np.ndarray, ...], addend: np.ndarray | None = None
    ) -> None:
        """A weighted sum as the node's output."""
        self.last(Combine, inputs, scales=scales, addend=np.zeros(1) if addend is None else addend)

    def shifted(self, label: str, source: str, addend: np.ndarray) -> str:
        """x + addend; x itself where there is nothing to add."""
        if not addend.any():
            return source
        return self.step(Combine, label, (source,), scales=(np.ones(1),), addend=addend)


def import_relu(graph: Importer, node: onnx.NodeProto) -> None:
    graph.emit(Relu, node, (graph.tensor(node),), graph.shape(node))


def _two_slopes(graph: Importer, node: onnx.NodeProto, slope: np.ndarray) -> None:
    """slope · x + (1 − slope) · relu(x)."""
    source, chain = graph.tensor(node), _Chain(graph, node, graph.shape(node))
    positive = chain.step(Relu, "relu", (source,))
    chain.last_sum((source, positive), (slope, 1.0 - slope))


def import_leaky_relu(graph: Importer, node: onnx.NodeProto) -> None:
    _two_slopes(graph, node, np.array([float(attributes(node).get("alpha", 0.01))]))


def import_prelu(graph: Importer, node: onnx.NodeProto) -> None:
    _two_slopes(graph, node, per_channel(graph.parameter(node, 1, "slope"), graph.shape(node), "slope"))


def import_abs(graph: Importer, node: onnx.NodeProto) -> None:
    _two_slopes(graph, node, np.array([-1.0]))


def import_clip(graph: Importer, node: onnx.NodeProto) -> None:
    bounds = [graph.optional_constant(node, index, what) for index, what in ((1, "minimum"), (2, "maximum"))]
    given = attributes(node)  # before opset 11
    low, high = (
        given.get(name, default) if bound is None else bound
        for bound, name, default in zip(bounds, ("min", "max"), (-np.inf, np.inf), strict=True)
    )
    if np.size(low) != 1 or np.size(high) != 1:
        raise Unsupported("a bound is not one number")
    floor, ceiling = float(np.reshape(low, -1)[0]), float(np.reshape(high, -1)[0])
    if not floor <= ceiling:
        raise Unsupported(f"its bounds {floor:g} and {ceiling:g} are in the wrong order")
    _clip(graph, node, floor, ceiling)


def _clip(graph: Importer, node: onnx.NodeProto, floor: float, ceiling: float) -> None:
    largest = float(np.finfo(np.float32).max)
    source, chain = graph.tensor(node), _Chain(graph, node, graph.shape(node))
    bounded_below, bounded_above = floor > -largest, ceiling < largest
    if floor == ceiling:
        raise Unsupported(f"its output is the constant {floor:g}")
    if not bounded_below and not bounded_above:
        graph.alias(node)
    elif bounded_below:
        height = ceiling - floor if bounded_above else None
        if floor == 0:
            chain.last(Relu, (source,), ceiling=height)
            return
        raised = chain.shifted("shifted", source, np.array([-floor]))
        clipped = chain.step(Relu, "clipped", (raised,), ceiling=height)
        chain.last_sum((clipped,), (np.ones(1),), np.array([floor]))
    else:  # c − relu(c − x)
        below = chain.step(Combine, "below", (source,), scales=(-np.ones(1),), addend=np.array([ceiling]))
        kept = chain.step(Relu, "kept", (below,))
        chain.last_sum((kept,), (-np.ones(1),), np.array([ceiling]))


def import_hard_sigmoid(graph: Importer, node: onnx.NodeProto) -> None:
    """clip(alpha · x + beta, 0, 1)."""
    given, chain = attributes(node), _Chain(graph, node, graph.shape(node))
    alpha, beta = float(given.get("alpha", 0.2)), float(given.get("beta", 0.5))
    if alpha == 0:
        raise Unsupported("its alpha is 0")
    line = chain.step(Combine, "line", (graph.tensor(node),), scales=(np.array([alpha]),), addend=np.array([beta]))
    chain.last(Relu, (line,), ceiling=1.0)


def import_relu2x2(graph: Importer, node: onnx.NodeProto) -> None:
    """Relu2x2(x) = x · [mean of its patch of 2 x 2 pixels > 0]."""
    graph.emit(PatchRelu, node, (graph.tensor(node),), graph.shape(node, axes=3), patch=(2, 2))


def _extreme(graph: Importer, node: onnx.NodeProto, sign: float) -> None:
    """The largest (sign 1) or least (sign −1) of tensors and constants: max(a, b) = b + relu(a − b)."""
    tensors = [index for index, name in enumerate(node.input) if name in graph.names]
    if not tensors:
        raise Unsupported("none of its inputs depends on the image")
    shape = graph.shape(node, tensors[0])
    if any(graph.shape(node, index) != shape for index in tensors):
        raise Unsupported(f"its inputs have the shapes {[list(graph.shape(node, index)) for index in tensors]}")
    chain, one, plus = _Chain(graph, node, shape), np.ones(1), np.array([sign])
    constants = [
        per_channel(graph.parameter(node, index, "bound"), shape, "bound")
        for index in range(len(node.input))
        if index not in tensors
    ]
    found = graph.tensor(node, tensors[0])
    others: list[str | np.ndarray] = [graph.tensor(node, index) for index in tensors[1:]] + constants
    inputs: tuple[str, ...]
    scales: tuple[np.ndarray, ...]
    for place, other in enumerate(others):
        end = place == len(others) - 1
        if isinstance(other, str):
            difference = chain.step(Combine, f"difference{place}", (found, other), scales=(plus, -plus))
            inputs, scales, addend = (chain.step(Relu, f"above{place}", (difference,)), other), (plus, one), np.zeros(1)
        else:
            difference = found
            if sign < 0 or other.any():
                difference = chain.step(Combine, f"difference{place}", (found,), scales=(plus,), addend=-sign * other)
            if end and difference == found:
                chain.last(Relu, (found,))
                return
            inputs, scales, addend = (chain.step(Relu, f"above{place}", (difference,)),), (plus,), other
        if end:
            chain.last_sum(inputs, scales, addend)
        else:
            found = chain.step(Combine, f"extreme{place}", inputs, scales=scales, addend=addend)
    if not others:
        graph.alias(node)


def import_max(graph: Importer, node: onnx.NodeProto) -> None:
    _extreme(graph, node, 1.0)


def import_min(graph: Importer, node: onnx.NodeProto) -> None:
    _extreme(graph, node, -1.0)


def _piecewise(function: str) -> Callable[[Importer, onnx.NodeProto], None]:
    def import_it(graph: Importer, node: onnx.NodeProto) -> None:
        graph.emit(Piecewise, node, (graph.tensor(node),), graph.shape(node), function=function)

    return import_it


def import_gelu(graph: Importer, node: onnx.NodeProto) -> None:
    kind = attributes(node).get("approximate", "none")
    if kind not in ("none", "tanh"):
        raise Unsupported(f"approximate {kind!r} is unknown")
    _piecewise("gelu" if kind == "none" else "gelu-tanh")(graph, node)


def _exponential(graph: Importer, node: onnx.NodeProto, alpha: float, scale: float = 1.0) -> None:
    """scale · (x, or alpha · (exp(x) − 1) below zero), as alpha · elu(x) + (1 − alpha) · relu(x)."""
    source, chain = graph.tensor(node), _Chain(graph, node, graph.shape(node))
    if alpha == scale == 1.0:
        chain.last(Piecewise, (source,), function="elu")
        return
    curved, inputs, factors = chain.step(Piecewise, "elu", (source,), function="elu"), [], []
    inputs.append(curved)
    factors.append(np.array([scale * alpha]))
    if alpha != 1.0:
        inputs.append(chain.step(Relu, "relu", (source,)))
        factors.append(np.array([scale * (1.0 - alpha)]))
    chain.last_sum(tuple(inputs), tuple(factors))


def import_elu(graph: Importer, node: onnx.NodeProto) -> None:
    _exponential(graph, node, _alpha(node, 1.0))


def import_selu(graph: Importer, node: onnx.NodeProto) -> None:
    scale = float(attributes(node).get("gamma", 1.05070102214813232421875))
    if scale <= 0:
        raise Unsupported(f"its gamma is {scale:g}, expected a positive number")
    _exponential(graph, node, _alpha(node, 1.67326319217681884765625), scale)


def _of_multiple(graph: Importer, node: onnx.NodeProto, function: str, factor: float) -> None:
    """f(factor · x) / factor."""
    chain, source = _Chain(graph, node, graph.shape(node)), graph.tensor(node)
    if factor == 1.0:
        chain.last(Piecewise, (source,), function=function)
        return
    part = chain.step(Combine, "part", (source,), scales=(np.array([factor]),), addend=np.zeros(1))
    curved = chain.step(Piecewise, "curve", (part,), function=function)
    chain.last_sum((curved,), (np.array([1.0 / factor]),))


def import_celu(graph: Importer, node: onnx.NodeProto) -> None:
    """alpha · elu(x / alpha)."""
    _of_multiple(graph, node, "elu", 1.0 / _alpha(node, 1.0))


def import_swish(graph: Importer, node: onnx.NodeProto) -> None:
    """x · sigmoid(alpha · x)."""
    _of_multiple(graph, node, "silu", _alpha(node, 1.0))


def _alpha(node: onnx.NodeProto, default: float) -> float:
    alpha = float(attributes(node).get("alpha", default))
    if not 0 < alpha < np.inf:
        raise Unsupported(f"its alpha is {alpha:g}, expected a positive number")
    return alpha


ActivationImporter: TypeAlias = Callable[[Importer, onnx.NodeProto], None]

ACTIVATIONS: dict[tuple[str, str], ActivationImporter] = {
    ("", "Abs"): import_abs,
    ("", "Celu"): import_celu,
    ("", "Clip"): import_clip,
    ("", "Elu"): import_elu,
    ("", "Erf"): _piecewise("erf"),
    ("", "Gelu"): import_gelu,
    ("", "HardSigmoid"): import_hard_sigmoid,
    ("", "HardSwish"): _piecewise("hardswish"),
    ("", "LeakyRelu"): import_leaky_relu,
    ("", "Max"): import_max,
    ("", "Min"): import_min,
    ("", "Mish"): _piecewise("mish"),
    ("", "PRelu"): import_prelu,
    ("", "Relu"): import_relu,
    ("", "Selu"): import_selu,
    ("", "Sigmoid"): _piecewise("sigmoid"),
    ("", "Softplus"): _piecewise("softplus"),
    ("", "Swish"): import_swish,
    ("", "Tanh"): _piecewise("tanh"),
}
