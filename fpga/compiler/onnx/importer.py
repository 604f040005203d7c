"""The state of an ONNX import: which values are tensors of the graph, which are constants, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..graph import AnyNode, Shape

#: Operators that may be evaluated on constants; none of them can make a large tensor of a small file. ConstantOfShape
#: can, and is evaluated where it does not.
FOLDABLE = frozenset(
    {"Abs", "Add", "Cast", "Ceil", "Concat", "Div", "Exp", "Flatten", "Floor", "Gather", "Identity", "Log", "Max"}
    | {"Min", "Mul", "Neg", "Pow", "Reciprocal", "ReduceProd", "ReduceSum", "Reshape", "Round", "Shape", "Size"}
    | {"Slice", "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze"}
)
ELEMENTS_LIMIT = 2**24


class Unsupported(Exception):
    """Why one node cannot be compiled."""


class Importer:
    """Collects the graph while nodes are imported in order.

    Attributes:
        names: ONNX value -> tensor of the graph (several values may be one tensor: Identity, Dropout).
        constants: ONNX value -> array.
        refused: ONNX values that depend on a refused node.
        nodes, shapes: the graph so far; shapes are those of one image.
        batch: the batch size that shape arithmetic in the model sees.
    """

    def __init__(self, input: str, shape: Shape, batch: int, constants: Mapping[str, np.ndarray], opset: int) -> None:
        self.names = {input: input}
        self.constants = dict(constants)
        self.refused: set[str] = set()
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

    def fold_constants(self, node: onnx.NodeProto) -> bool:
        """Evaluate a node that does not depend on the image (or only on its shape)."""
        if node.domain not in ("", "ai.onnx"):
            return False
        if node.op_type == "Constant":
            self.constants[node.output[0]] = _constant_value(node)
            return True
        if node.op_type == "Shape" and node.input and node.input[0] in self.names:
            shape = (self.batch, *self.shapes[self.names[node.input[0]]])
            given = attributes(node)
            self.constants[node.output[0]] = np.array(shape, np.int64)[given.get("start", 0) : given.get("end")]
            return True
        inputs = {name: self.constants[name] for name in node.input if name and name in self.constants}
        if not node.input or len(inputs) != len({name for name in node.input if name}):
            return False
        if node.op_type == "ConstantOfShape":
            _check_size(inputs[node.input[0]])
        elif node.op_type not in FOLDABLE:
            return False
        self._evaluate(node, inputs)
        return True

    def _evaluate(self, node: onnx.NodeProto, inputs: dict[str, np.ndarray]) -> None:
        graph = helper.make_graph(
            [node],
            "constant",
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                for n, v in inputs.items()
            ],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(model).run(None, inputs)
        except Exception as error:
            raise Unsupported(f"its constant inputs cannot be evaluated: {error}") from error
        for name, value in zip([n for n in node.output if n], results, strict=False):
            value = np.asarray(value)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise Unsupported("its constant inputs evaluate to NaN or infinity")
            self.constants[name] = value


def _check_size(shape: np.ndarray) -> None:
    sizes = [int(size) for size in shape.reshape(-1)]
    if math.prod(max(0, size) for size in sizes) > ELEMENTS_LIMIT:
        raise Unsupported(f"its output of {sizes} elements is too large")


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes by name; text as str."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        try:
            value = helper.get_attribute_value(attribute)
        except (ValueError, TypeError) as error:
            raise Unsupported(f"its attribute {attribute.name!r} cannot be read: {error}") from error
        values[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return values


def integers(given: Mapping[str, Any], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute of as many integers as its default."""
    value = given.get(name)
    if value is None:
        return default
    try:
        numbers = tuple(int(item) for item in value)
    except (TypeError, ValueError) as error:
        raise Unsupported(f"its attribute {name!r} is not a list of integers") from error
    if len(numbers) != len(default):
        raise Unsupported(f"its attribute {name!r} is {list(numbers)}, expected {len(default)} numbers")
    return numbers


def _constant_value(node: onnx.NodeProto) -> np.ndarray:
    given = attributes(node)
    try:
        if "value" in given:
            value = numpy_helper.to_array(given["value"])
        elif "value_float" in given or "value_floats" in given:
            value = np.array(given.get("value_float", given.get("value_floats")), dtype=np.float32)
        elif "value_int" in given or "value_ints" in given:
            value = np.array(given.get("value_int", given.get("value_ints")), dtype=np.int64)
        else:
            raise Unsupported("this kind of constant is not supported")
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        raise Unsupported(f"its value is damaged: {error}") from error
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise Unsupported("it holds NaN or infinity")
    return value
