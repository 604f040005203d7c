"""ONNX in, the compiler's graph out; everything that is not supported is refused in one sentence, all at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import METADATA_KEY, read_format

from ..graph import Graph
from .importer import Importer, Unsupported
from .operators import IMPORTERS, OperatorImporter

OLDEST_OPSET = 11
MODEL_BYTES_LIMIT = 2**31 - 1
X2ACT = ("rrnet", "X2act")
FLOAT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


def read_onnx(path: Path | str) -> Graph:
    """Read an ONNX classifier.

    Raises:
        Refusal: no such file, not a whole ONNX model, or it holds what two parties cannot compute; the sentence lists
            every unsupported node with its operator and the reason.
    """
    path = Path(path)
    model, digest = _load(path)
    return import_model(model, path.name, {"file": path.name, "sha256": digest})


def import_model(model: onnx.ModelProto, where: str, source: Mapping[str, str] | None = None) -> Graph:
    """Turn a loaded model into a graph; `where` names it in refusals."""
    opset = _check_opsets(model, where)
    _check_text(model, where)
    model = _inline_functions(model, where)
    graph = model.graph
    constants = _initializers(graph, where)
    name, shape, batch = _input(graph, constants, where)
    if len(graph.output) != 1:
        raise Refusal(f"{where}: the model has {len(graph.output)} outputs, expected one: the logits")
    importer = Importer(input=name, shape=shape, batch=batch, constants=constants, opset=opset)
    _check_order(graph, {name, *constants}, where)
    problems = _import_nodes(importer, graph)
    if problems:
        shown = problems[:20] + ([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])
        raise Refusal(f"{where}: cannot be compiled for two parties: " + "; ".join(shown))
    output = importer.names.get(graph.output[0].name)
    if output is None:
        raise Refusal(f"{where}: the output {graph.output[0].name!r} does not depend on the input")
    used = source or {}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    described = metadata.pop(METADATA_KEY, None)
    return Graph(
        name=graph.name or "model",
        input=name,
        output=output,
        shapes=importer.shapes,
        nodes=tuple(importer.nodes),
        source={**used, **metadata},
        images=None if described is None else read_format(described, where),
    )


def _load(path: Path) -> tuple[onnx.ModelProto, str]:
    try:
        size = path.stat().st_size
        if size > MODEL_BYTES_LIMIT:
            raise Refusal(f"{path}: {size} bytes are more than an ONNX file can hold (2 GB); is this an ONNX model?")
        data = path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}") from error
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise Refusal(f"{path} is not an ONNX model, or is damaged") from error
    if not model.graph.node:
        raise Refusal(f"{path} is not an ONNX model, or is damaged: it has no nodes")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise Refusal(f"{path}: its external data cannot be read: {error}") from error
    return model, hashlib.sha256(data).hexdigest()


def _check_opsets(model: onnx.ModelProto, where: str) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise Refusal(f"{where}: the model imports no version of the standard operators")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= versions[0] <= newest:
        raise Refusal(f"{where}: opset {versions[0]} is not one of {OLDEST_OPSET} to {newest}; export it again")
    return int(versions[0])


def _check_text(model: onnx.ModelProto, where: str) -> None:
    """Damaged names come out of protobuf as bytes."""
    graph = model.graph
    texts = [graph.name, *(entry.name for entry in (*graph.input, *graph.output, *graph.initializer))]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
    texts += [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    if any(not isinstance(text, str) for text in texts):
        raise Refusal(f"{where} is damaged: a name in it is not text")


def _inline_functions(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Local functions are what their bodies say; X2act stays whole and keeps the name of its layer."""
    if all((function.domain, function.name) == X2ACT for function in model.functions):
        return model
    try:
        return onnx.inliner.inline_selected_functions(model, [X2ACT], exclude=True)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise Refusal(f"{where}: its local functions cannot be inlined: {error}") from error


def _initializers(graph: onnx.GraphProto, where: str) -> dict[str, np.ndarray]:
    constants = {}
    for tensor in graph.initializer:
        try:
            value = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, RuntimeError, NotImplementedError) as error:
            raise Refusal(f"{where}: initializer {tensor.name!r} is damaged: {error}") from error
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise Refusal(f"{where}: initializer {tensor.name!r} holds NaN or infinity")
        constants[tensor.name] = value
    if graph.sparse_initializer:
        raise Refusal(f"{where}: sparse initializers are not supported")
    return constants


def _input(graph: onnx.GraphProto, constants: Mapping[str, np.ndarray], where: str) -> tuple[str, tuple[int, ...], int]:
    """Name, shape of one image, and batch size (1 where it is dynamic) of the only input."""
    inputs = [entry for entry in graph.input if entry.name not in constants]
    if len(inputs) != 1:
        raise Refusal(f"{where}: the model has {len(inputs)} inputs, expected one: the image")
    tensor_type = inputs[0].type.tensor_type
    if tensor_type.elem_type not in FLOAT_TYPES:
        kind = onnx.TensorProto.DataType.Name(tensor_type.elem_type) if tensor_type.elem_type else "no tensor"
        raise Refusal(f"{where}: input {inputs[0].name!r} is {kind}, expected a floating point tensor")
    dimensions = list(tensor_type.shape.dim)
    if len(dimensions) not in (2, 4):
        raise Refusal(f"{where}: input {inputs[0].name!r} has {len(dimensions)} axes, expected [N, C, H, W]")
    for axis, dimension in enumerate(dimensions[1:], start=1):
        if not dimension.HasField("dim_value") or not 0 < dimension.dim_value < 2**20:
            shown = dimension.dim_param or (dimension.dim_value if dimension.HasField("dim_value") else "dynamic")
            raise Refusal(f"{where}: axis {axis} of input {inputs[0].name!r} is {shown}; only the batch may be dynamic")
    batch = dimensions[0].dim_value if dimensions[0].dim_value > 0 else 1
    return inputs[0].name, tuple(dimension.dim_value for dimension in dimensions[1:]), batch


def _check_order(graph: onnx.GraphProto, known: set[str], where: str) -> None:
    """Every value must be made before it is read, and once: this also excludes cycles."""
    known = set(known)
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                raise Refusal(f"{where}: node {label(node)} reads {name!r}, which no earlier node makes (a cycle?)")
        for name in node.output:
            if name and name in known:
                raise Refusal(f"{where}: node {label(node)} makes {name!r} a second time")
            known.add(name)


def _import_nodes(importer: Importer, graph: onnx.GraphProto) -> list[str]:
    """Import every node; a node that depends on a refused one is skipped, so that each problem is told once."""
    problems: list[str] = []
    for node in graph.node:
        if any(name in importer.refused for name in node.input):
            importer.refused.update(node.output)
            operation = importer_for(node)
            if operation is None:
                problems.append(_no_importer(node))
            continue
        try:
            operation = importer_for(node)
            if importer.fold_constants(node):
                continue
            if operation is None:
                problems.append(_no_importer(node))
                importer.refused.update(node.output)
                continue
            operation(importer, node)
        except Unsupported as reason:
            problems.append(f"node {label(node)} ({node.op_type}): {reason}")
            importer.refused.update(node.output)
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            # damaged files have attributes of any type and size
            problems.append(f"node {label(node)} ({node.op_type}): an attribute or constant is damaged ({error})")
            importer.refused.update(node.output)
    return problems


def importer_for(node: onnx.NodeProto) -> OperatorImporter | None:
    """The importer of this operator, if there is one."""
    return IMPORTERS.get((node.domain if node.domain != "ai.onnx" else "", node.op_type))


def _no_importer(node: onnx.NodeProto) -> str:
    domain = f"{node.domain}." if node.domain else ""
    return f"node {label(node)} ({domain}{node.op_type}): this operator is not supported"


def label(node: onnx.NodeProto) -> str:
    """How a node is called in messages: its name, else its first output."""
    return repr(node.name or next(filter(None, node.output), node.op_type))
