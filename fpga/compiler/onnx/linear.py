"""Importers of Gemm, MatMul and Einsum: a matrix of constants on the features of an image, or of each of its pixels."""

from __future__ import annotations

import math

import numpy as np
import onnx

from ..graph import Conv, Linear
from .arithmetic import per_channel
from .importer import Importer, Unsupported, attributes
from .views import View, flattened, is_channels_last, materialize, one_image, put_view, view_of


def import_gemm(graph: Importer, node: onnx.NodeProto) -> None:
    given = attributes(node)
    weight = graph.parameter(node, 1, "weight").astype(np.float64) * float(given.get("alpha", 1.0))
    weight = weight if given.get("transB", 0) else weight.T
    bias = np.zeros(1)
    if len(node.input) > 2 and node.input[2]:
        bias = graph.parameter(node, 2, "bias").astype(np.float64) * float(given.get("beta", 1.0))
    if given.get("transA", 0):
        node = _reading(graph, node, _swapped(view_of(graph, graph.operand(node, 0))), "rows", node.output[0])
    _emit_linear(graph, node, weight, bias)


def import_matmul(graph: Importer, node: onnx.NodeProto) -> None:
    """x W, the last axis of x being its features; W x, where the constant comes first, is (xᵀ Wᵀ)ᵀ."""
    if len(node.input) > 1 and node.input[0] in graph.constants:
        weight = _matrix(graph, node, 0, "left factor")
        result = _times(graph, node, _swapped(view_of(graph, graph.operand(node, 1))), weight)
        put_view(graph, node.output[0], _swapped(result))
        return
    weight = _matrix(graph, node, 1, "right factor").T
    view = view_of(graph, graph.operand(node, 0))
    if view.index.ndim == 2:
        _emit_linear(graph, node, weight, np.zeros(1))
    else:
        put_view(graph, node.output[0], _times(graph, node, view, weight))


def import_einsum(graph: Importer, node: onnx.NodeProto) -> None:
    """A sum over the axes that a tensor shares with a matrix of constants, of any rank and in any order."""
    equation = str(attributes(node).get("equation", "")).replace(" ", "")
    left, _, out = equation.partition("->")
    terms = left.split(",")
    places = [place for place, name in enumerate(node.input) if name in graph.constants]
    letters = [*terms, out]
    if len(terms) != 2 or len(places) != 1 or not out or any(len(set(t)) < len(t) or "." in t for t in letters):
        raise Unsupported(
            f"equation {equation!r} is not supported: only a tensor times constants, each axis named once"
        )
    constant, view = graph.parameter(node, places[0], "factor"), view_of(graph, graph.operand(node, 1 - places[0]))
    of_constant, of_view = terms[places[0]], terms[1 - places[0]]
    summed = [axis for axis in of_view if axis not in out]
    kept, new = [axis for axis in of_view if axis in out], [axis for axis in of_constant if axis in out]
    if set(summed) != set(of_constant) - set(new) or set(kept) & set(new) or set(out) != {*kept, *new} or not summed:
        raise Unsupported(f"equation {equation!r} is not supported: it multiplies along an axis that it keeps")
    if constant.ndim != len(of_constant) or view.index.ndim != len(of_view):
        raise Unsupported(f"equation {equation!r} does not fit {list(view.index.shape)} and {list(constant.shape)}")
    index = view.index.transpose([of_view.index(axis) for axis in (*kept, *summed)])
    moved = constant.transpose([of_constant.index(axis) for axis in (*new, *summed)])
    count = math.prod(index.shape[len(kept) :])
    if math.prod(moved.shape[len(new) :]) != count:
        raise Unsupported(f"equation {equation!r} does not fit {list(view.index.shape)} and {list(constant.shape)}")
    rows = View(view.base, index.reshape(*index.shape[: len(kept)], count))
    found = _times(graph, node, rows, moved.reshape(-1, count).astype(np.float64))
    named = found.index.reshape(*index.shape[: len(kept)], *moved.shape[: len(new)])
    order = [[*kept, *new].index(axis) for axis in out]
    put_view(graph, node.output[0], View(found.base, named.transpose(order)))


def _matrix(graph: Importer, node: onnx.NodeProto, index: int, what: str) -> np.ndarray:
    matrix = graph.parameter(node, index, what).astype(np.float64)
    if matrix.ndim != 2:
        raise Unsupported(f"its {what} has the shape {list(matrix.shape)}, expected a matrix")
    return matrix


def _swapped(view: View) -> View:
    if view.index.ndim < 2:
        raise Unsupported(f"its input has the shape {list(view.index.shape)}, expected at least 2 axes")
    return View(view.base, view.index.swapaxes(-1, -2))


def _reading(graph: Importer, node: onnx.NodeProto, view: View, label: str, output: str) -> onnx.NodeProto:
    """The node as one that reads a view of its own and makes another value."""
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    moved.input[0], moved.output[0] = f"{node.output[0]}.{label}", output
    put_view(graph, moved.input[0], view)
    return moved


def _times(graph: Importer, node: onnx.NodeProto, view: View, weight: np.ndarray) -> View:
    """[N, ..., in] times weight [out, in] as [N, ..., out]: features of an image, or of each of its pixels."""
    *sizes, features = view.index.shape
    if weight.shape[1] != features:
        raise Unsupported(f"its weight [out, in] is {list(weight.shape)} for an input of {features} features")
    inner = f"{node.output[0]}.inner"
    if math.prod(sizes[1:]) == 1:
        rows = View(view.base, view.index.reshape(sizes[0], features))
        _emit_linear(graph, _reading(graph, node, rows, "rows", inner), weight, np.zeros(1))
        made = view_of(graph, inner)
        return View(made.base, made.index.reshape(*sizes, -1))
    if is_channels_last(graph, view):
        return _pointwise(graph, node, view.base, weight, sizes)
    image = view.index.reshape(sizes[0], -1, features).swapaxes(1, 2)[..., None]
    moved = _reading(graph, node, View(view.base, image), "pixels", inner)
    materialize(graph, moved, moved.input[0])
    return _pointwise(graph, node, graph.names[moved.input[0]], weight, sizes)


def _pointwise(graph: Importer, node: onnx.NodeProto, base: str, weight: np.ndarray, sizes: list[int]) -> View:
    """A linear layer of every pixel as a pointwise convolution; the result's channels lie last."""
    inner, (outputs, _), size = f"{node.output[0]}.inner", weight.shape, graph.shapes[base][1:]
    name = graph.unique(node.name or node.output[0])
    fields = {"weight": np.ascontiguousarray(weight)[:, :, None, None], "bias": np.zeros(outputs)}
    graph.emit_as(Conv, node, (base,), (outputs, *size), inner, name, **fields)
    return View(inner, view_of(graph, inner).index.transpose(0, 2, 3, 1).reshape(*sizes, outputs))


def _emit_linear(graph: Importer, node: onnx.NodeProto, weight: np.ndarray, bias: np.ndarray) -> None:
    """A product with the features where they lie: flattened in another order, the weights are permuted instead."""
    name = graph.operand(node, 0)
    view = graph.views.get(name) if name not in graph.names else None
    if view is not None and view.index.ndim == 2 and weight.ndim == 2:
        source, weight = _on_base(graph, node, name, view, weight)
    else:
        materialize(graph, node, name)
        source = graph.tensor(node)
    shape = graph.shapes[source]
    if len(shape) != 1:
        raise Unsupported(f"its input has the shape [N, {', '.join(map(str, shape))}], expected 2 axes")
    if weight.ndim != 2 or weight.shape[1] != shape[0]:
        raise Unsupported(f"its weight [out, in] is {list(weight.shape)} for an input of {shape[0]} features")
    spread = np.broadcast_to(per_channel(bias, weight.shape[:1], "bias"), weight.shape[:1]).copy()
    graph.emit(Linear, node, (source,), (weight.shape[0],), weight=np.ascontiguousarray(weight), bias=spread)


def _on_base(
    graph: Importer, node: onnx.NodeProto, name: str, view: View, weight: np.ndarray
) -> tuple[str, np.ndarray]:
    """The whole tensor behind a view and the weights permuted for it; where a view has few of its words, these."""
    index, size = one_image(graph, view), math.prod(graph.shapes[view.base])
    if weight.shape[1] != index.size or 2 * np.unique(index).size < size:
        materialize(graph, node, name)
        return graph.names[name], weight
    spread = np.zeros((size, weight.shape[0]))
    np.add.at(spread, index[index >= 0], weight.T[index >= 0])
    return flattened(graph, node, view.base), np.ascontiguousarray(spread.T)
