"""The state of an ONNX import: which values are tensors of the graph, which are constants, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ..graph import AnyNode, Reach, Shape
from .attributes import Unsupported, attributes, integers

ELEMENTS_LIMIT = 2**24


@dataclass(frozen=True, eq=False)
class View:
    """`index` int32 [batch, ...] into the flat tensor `base` [batch, *shape]; -1 is zero."""

    base: str
    index: np.ndarray


class Importer:
    """Collects the graph while nodes are imported in order.

    Attributes:
        names: ONNX value -> tensor of the graph (several values may be one tensor: Identity, Dropout).
        views: ONNX value -> words of a tensor of the graph in another order, as long as nobody computes with them.
        flattened: flat tensor -> the image that it is made of.
        quantized: ONNX values that are integers -> scale and zero point of what they stand for; None: the pixels.
        reaches: tensors that QuantizeLinear rounds -> what its integers reach.
        constants: ONNX value -> array.
        refused: ONNX values that depend on a refused node.
        unknown: constants that follow from the shape of a refused value.
        nodes, shapes: the graph so far; shapes are those of one image.
        batch: the batch size that shape arithmetic in the model sees.
    """

    def __init__(self, input: str, shape: Shape, batch: int, constants: Mapping[str, np.ndarray], opset: int) -> None:
        self.names = {input: input}
        self.views: dict[str, View] = {}
        self.quantized: dict[str, tuple[np.ndarray, np.ndarray] | None] = {}
        self.reaches: dict[str, Reach] = {}
        self.flattened: dict[str, str] = {}
        self.constants = dict(constants)
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.nodes: list[AnyNode] = []
        self.shapes: dict[str, Shape] = {input: shape}
        self.batch = batch
        self.opset = opset
        self._used_names: set[str] = set()

    def tensor(self, node: onnx.NodeProto, index: int = 0) -> str:
        """The graph's tensor that is the node's input `index`."""
        name = self.operand(node, index)
        if name in self.names:
            return self.names[name]
        if name in self.constants:
            raise Unsupported(f"its input {name!r} is a constant, expected a tensor that depends on the image")
        raise Unsupported(f"its input {name!r} is not available (an optional output?)")

    def operand(self, node: onnx.NodeProto, index: int) -> str:
        if index >= len(node.input) or not node.input[index]:
            raise Unsupported(f"it has no input {index}")
        return node.input[index]

    def constant(self, node: onnx.NodeProto, index: int, what: str) -> np.ndarray:
        """The node's input `index`, which must not depend on the image."""
        name = self.operand(node, index)
        if name not in self.constants:
            raise Unsupported(f"its {what} {name!r} is not a constant")
        return self.constants[name]

    def optional_constant(self, node: onnx.NodeProto, index: int, what: str) -> np.ndarray | None:
        if index >= len(node.input) or not node.input[index]:
            return None
        return self.constant(node, index, what)

    def parameter(self, node: onnx.NodeProto, index: int, what: str) -> np.ndarray:
        """A constant of real numbers."""
        value = self.constant(node, index, what)
        if value.dtype.kind != "f":
            raise Unsupported(f"its {what} has the type {value.dtype}, expected floating point")
        return value

    def shape(self, node: onnx.NodeProto, index: int = 0, axes: int | None = None) -> Shape:
        """Shape of one image of the tensor `index`; with `axes`, refuse another number of axes."""
        shape = self.shapes[self.tensor(node, index)]
        if axes is not None and len(shape) != axes:
            raise Unsupported(f"its input has the shape [N, {', '.join(map(str, shape))}], expected {axes + 1} axes")
        return shape

    def full_shape(self, name: str) -> Shape | None:
        """The ONNX shape, batch included, of a value that depends on the image; None of others."""
        if name in self.names:
            return (self.batch, *self.shapes[self.names[name]])
        return tuple(self.views[name].index.shape) if name in self.views else None

    def emit(self, kind: type, node: onnx.NodeProto, inputs: tuple[str, ...], shape: Shape, **fields: Any) -> None:
        """Append a node of the graph that makes the ONNX node's first output."""
        self.emit_as(kind, node, inputs, shape, node.output[0], self.unique(node.name or node.output[0]), **fields)

    def emit_as(
        self,
        kind: type,
        node: onnx.NodeProto,
        inputs: tuple[str, ...],
        shape: Shape,
        output: str,
        name: str,
        **fields: Any,
    ) -> None:
        if output in self.shapes:
            raise Unsupported(f"two tensors would be called {output!r}")
        if min(shape) < 1:
            raise Unsupported(f"its output would be empty: {list(shape)}")
        if math.prod(shape) > ELEMENTS_LIMIT:
            raise Unsupported(f"its output of {list(shape)} elements is too large")
        for value in fields.values():
            for array in value if isinstance(value, tuple) else (value,):
                if isinstance(array, np.ndarray) and not np.isfinite(array).all():
                    raise Unsupported("a parameter is NaN or infinite")
        self.nodes.append(kind(name, inputs, output, **fields))
        self.shapes[output] = shape
        self.names[output] = output

    def alias(self, node: onnx.NodeProto) -> None:
        """The node's output is its first input."""
        self.names[node.output[0]] = self.tensor(node)

    def unique(self, wanted: str) -> str:
        """A node name that no other node has."""
        name, count = wanted, 2
        while name in self._used_names:
            name, count = f"{wanted}_{count}", count + 1
        self._used_names.add(name)
        return name


__all__ = ["ELEMENTS_LIMIT", "Importer", "Unsupported", "View", "attributes", "integers"]
