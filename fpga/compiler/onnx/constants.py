"""Nodes whose inputs are all constants, evaluated while their results stay small."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from .attributes import read_tensor
from .importer import ELEMENTS_LIMIT, Importer, Unsupported, attributes

#: Constants of at most so many elements may decide the shape of a result, as sizes and axes do.
SHAPE_ELEMENTS = 1024
#: Not a function of their inputs alone, or of unknown length.
NOT_EVALUATED = frozenset(
    {"Bernoulli", "If", "Loop", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    | {"RandomUniformLike", "Scan", "SequenceMap"}
)

#: Attributes of a Constant that hold its numbers themselves.
LISTED_KINDS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


def fold_constants(graph: Importer, node: onnx.NodeProto) -> bool:
    """Evaluate a node that does not depend on the image (or only on its shape)."""
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "Constant":
        graph.constants[node.output[0]] = _constant_value(node)
        return True
    if node.op_type in ("Shape", "Size") and node.input and graph.full_shape(node.input[0]) is not None:
        shape = np.array(graph.full_shape(node.input[0]), np.int64)
        given = attributes(node)
        part = shape[given.get("start", 0) : given.get("end")]
        graph.constants[node.output[0]] = part if node.op_type == "Shape" else np.array(shape.prod())
        return True
    names = {name for name in node.input if name}
    if not names <= graph.constants.keys() or node.op_type in NOT_EVALUATED:
        return False
    if any(attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute):
        return False
    if node.op_type == "DequantizeLinear":
        graph.constants[node.output[0]] = _dequantized(node, [graph.constants[name] for name in node.input if name])
        return True
    inputs = {name: graph.constants[name] for name in node.input if name}
    for name, value in _evaluated(node, inputs, graph.opset).items():
        graph.constants[name] = value
    return True


def unknown_constant(graph: Importer, node: onnx.NodeProto) -> bool:
    """Note what would be constant if a refused tensor's shape were known; nodes that only compute with it are fine."""
    names = {name for name in node.input if name}
    of_shape = node.op_type in ("Shape", "Size") and bool(names & graph.refused)
    if not of_shape and not (names & graph.unknown and names <= graph.unknown | graph.constants.keys()):
        return False
    graph.unknown.update(node.output)
    return True


def _evaluated(node: onnx.NodeProto, inputs: dict[str, np.ndarray], opset: int) -> dict[str, np.ndarray]:
    names = [name for name in node.output if name]
    model = helper.make_model(
        helper.make_graph(
            [node],
            "constant",
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                for n, v in inputs.items()
            ],
            [onnx.ValueInfoProto(name=name) for name in names],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    _check_sizes(model, inputs)
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, inputs)
    except Exception as error:  # some hundred operators of the onnx package, each of which raises what it likes
        raise Unsupported(f"its constant inputs cannot be evaluated: {error}") from error
    values = {}
    for name, result in zip(names, results, strict=False):
        value = np.asarray(result)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise Unsupported("its constant inputs evaluate to NaN or infinity")
        values[name] = value
    return values


def _dequantized(node: onnx.NodeProto, inputs: list[np.ndarray]) -> np.ndarray:
    """(x - zero point) * scale, per tensor or along an axis; the evaluator does not know it before opset 19."""
    value, scale = inputs[0].astype(np.float64), np.asarray(inputs[1], np.float64)
    zero = np.zeros(()) if len(inputs) < 3 else inputs[2].astype(np.float64)
    given = attributes(node)
    if given.get("block_size", 0):
        raise Unsupported("scales per block are not supported")
    if scale.size > 1:
        axis = int(given.get("axis", 1))
        if scale.ndim != 1 or not -value.ndim <= axis < value.ndim or scale.size != value.shape[axis]:
            raise Unsupported(f"{scale.size} scales do not fit axis {axis} of {list(value.shape)}")
        along = [1] * value.ndim
        along[axis] = scale.size
        scale, zero = scale.reshape(along), zero.reshape(along) if zero.size > 1 else zero.reshape(())
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    result = np.asarray((value - zero) * scale)
    if not np.isfinite(result).all():
        raise Unsupported("it holds NaN or infinity")
    return result


def _check_sizes(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> None:
    """Refuse a result that would be large, before it is computed; what it will be follows from small constants."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    small = [numpy_helper.from_array(value, name) for name, value in inputs.items() if value.size <= SHAPE_ELEMENTS]
    probe.graph.initializer.extend(small)
    try:
        inferred = onnx.shape_inference.infer_shapes(probe, data_prop=True).graph.output
    except Exception as error:  # protobuf and onnx have no common base of what damaged nodes make them raise
        raise Unsupported(f"its constant inputs cannot be evaluated: {error}") from error
    for entry in inferred:
        sizes = [dimension.dim_value for dimension in entry.type.tensor_type.shape.dim]
        if math.prod(sizes) > ELEMENTS_LIMIT:
            raise Unsupported(f"its output of {sizes} elements is too large")


def _constant_value(node: onnx.NodeProto) -> np.ndarray:
    given = attributes(node)
    if "value" in given:
        try:
            return read_tensor(given["value"])
        except Unsupported as reason:
            raise Unsupported(f"its value {reason}") from reason
    for name, kind in LISTED_KINDS.items():
        if name in given:
            value = np.array(given[name], dtype=kind)
            if not np.isfinite(value).all():
                raise Unsupported("its value holds NaN or infinity")
            return value
    raise Unsupported("this kind of constant is not supported")
