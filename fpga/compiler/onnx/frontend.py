"""ONNX in, the compiler's graph out; everything that is not supported is refused in one sentence, all at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import METADATA_KEY, read_format

from ...program.heads import HEADS
from ..graph import Graph
from .attributes import Unsupported, read_tensor
from .constants import fold_constants, unknown_constant
from .dispatch import import_node, importer_for
from .heads import check_head, split_head
from .importer import Importer
from .inputs import image_input, in_readable_opset
from .joining import pads_of_maxima
from .layer_names import NAMELESS, name_after_layers
from .prune import decided_branch, needed_nodes, without_decided
from .views import materialize

MODEL_BYTES_LIMIT = 2**31 - 1
#: Local functions that have an importer of their own.
WHOLE = [("rrnet", "X2act"), ("rrnet", "Relu2x2")]


#: What can be done about operators that are not supported.
HINTS = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "ArgMax"), " but as the model's last: cut off what follows it"),
    **dict.fromkeys(
        (*("LRN", "InstanceNormalization", "LayerNormalization"), *("GroupNormalization", "RMSNormalization")),
        "; train with BatchNormalization instead",
    ),
    **dict.fromkeys(("QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul"), "; quantize in QDQ format"),
    "DynamicQuantizeLinear": "; quantize statically, in QDQ format",
    **dict.fromkeys(("Resize", "Upsample"), "; resize the images before"),
    **dict.fromkeys(("If", "Loop", "Scan"), "; export the model traced, without control flow"),
}
HINTS_OF_DOMAINS = {
    "com.microsoft": "; save the model without onnxruntime's optimizations, quantized ones in QDQ format",
    "ai.onnx.ml": "; export the network up to its logits",
}


def read_onnx(path: Path | str, output_name: str | None = None, input_shape: Sequence[int] | None = None) -> Graph:
    """Read an ONNX classifier; arguments as of `import_model`.

    Raises:
        Refusal: no such file, not a whole ONNX model, or it holds what two parties cannot compute; the sentence lists
            every unsupported node with its operator and the reason.
    """
    path = Path(path)
    model, digest = _load(path)
    return import_model(model, path.name, {"file": path.name, "sha256": digest}, output_name, input_shape)


def import_model(
    model: onnx.ModelProto,
    where: str,
    source: Mapping[str, str] | None = None,
    output_name: str | None = None,
    input_shape: Sequence[int] | None = None,
) -> Graph:
    """Turn a loaded model into a graph; `where` names it in refusals. Its layers' names are written into the model.

    Args:
        output_name: which output, where the model has several.
        input_shape: [N, C, H, W] for axes that the model leaves open.

    Raises:
        Refusal: as of `read_onnx`.
    """
    _check_text(model, where)
    name_after_layers(model)
    model, opset = in_readable_opset(model, where)
    model = _inline_functions(model, where)
    pads_of_maxima(model)
    graph = model.graph
    constants = _initializers(graph, where)
    image = image_input(graph, constants, where, input_shape)
    output_name = _output(graph, output_name, where)
    importer = Importer(image.name, image.shape, image.batch, constants, opset)
    if image.pixels:
        importer.quantized[image.name] = None
    _check_order(graph, {image.name, *constants}, where)
    nodes = without_decided(importer, needed_nodes(list(graph.node), output_name), model, output_name)
    head, output_name, nodes = split_head(nodes, output_name)
    problems = _import_nodes(importer, nodes)
    if problems:
        shown = problems[:20] + ([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])
        raise Refusal(f"{where}: cannot be compiled for two parties: " + "; ".join(shown))
    if importer.quantized.get(output_name) is not None:
        raise Refusal(f"{where}: the output {output_name!r} is quantized: end the model with DequantizeLinear")
    try:
        materialize(importer, graph.node[-1], output_name)
    except Unsupported as reason:
        raise Refusal(f"{where}: the output {output_name!r} cannot be compiled: {reason}") from reason
    output = importer.names.get(output_name)
    if output is None:
        raise Refusal(f"{where}: the output {output_name!r} does not depend on the input")
    for node in head:
        try:
            check_head(node, (importer.batch, *importer.shapes[output]), opset)
        except Unsupported as reason:
            raise Refusal(f"{where}: node {label(node)} ({node.op_type}): {reason}") from reason
    used = source or {}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    described = metadata.pop(METADATA_KEY, None)
    return Graph(
        name=Path(where).stem if graph.name in NAMELESS else graph.name,
        input=image.name,
        output=output,
        shapes=importer.shapes,
        nodes=tuple(importer.nodes),
        source={**used, **metadata},
        images=None if described is None else read_format(described, where),
        head=tuple(HEADS[node.op_type] for node in head if node.op_type in HEADS),
        pixels=image.pixels,
        reaches=importer.reaches,
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
    """Local functions are what their bodies say; our own activations stay whole and keep the name of their layer."""
    if all((function.domain, function.name) in WHOLE for function in model.functions):
        return model
    try:
        return onnx.inliner.inline_selected_functions(model, WHOLE, exclude=True)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise Refusal(f"{where}: its local functions cannot be inlined: {error}") from error


def _initializers(graph: onnx.GraphProto, where: str) -> dict[str, np.ndarray]:
    constants = {}
    for tensor in graph.initializer:
        try:
            constants[tensor.name] = read_tensor(tensor)
        except Unsupported as reason:
            raise Refusal(f"{where}: initializer {tensor.name!r} {reason}") from reason
    if graph.sparse_initializer:
        raise Refusal(f"{where}: sparse initializers are not supported")
    return constants


def _output(graph: onnx.GraphProto, wanted: str | None, where: str) -> str:
    names = [entry.name for entry in graph.output]
    if wanted is None and len(names) != 1:
        shown = ", ".join(map(repr, names[:8]))
        raise Refusal(
            f"{where}: the model has {len(names)} outputs; say which one is compiled: --output-name of {shown}"
        )
    if wanted is not None and wanted not in names:
        raise Refusal(
            f"{where}: {wanted!r} is no output of the model: expected one of {', '.join(map(repr, names[:8]))}"
        )
    return names[0] if wanted is None else wanted


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


def _import_nodes(importer: Importer, nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Import every node; a node that depends on a refused one is skipped, so that each problem is told once."""
    problems: list[str] = []
    for node in nodes:
        if unknown_constant(importer, node):
            continue
        branch = decided_branch(importer, node)
        if branch is not None:
            problems += _import_nodes(importer, branch)
            continue
        if any(name in importer.refused or name in importer.unknown for name in node.input):
            importer.refused.update(node.output)
            if importer_for(node) is None:
                problems.append(_no_importer(node))
            continue
        try:
            operation = importer_for(node)
            if fold_constants(importer, node):
                continue
            if operation is None:
                problems.append(_no_importer(node))
                importer.refused.update(node.output)
                continue
            import_node(importer, node, operation)
        except Unsupported as reason:
            problems.append(f"node {label(node)} ({node.op_type}): {reason}")
            importer.refused.update(node.output)
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            # damaged files have attributes of any type and size
            problems.append(f"node {label(node)} ({node.op_type}): an attribute or constant is damaged ({error})")
            importer.refused.update(node.output)
    return problems


def _no_importer(node: onnx.NodeProto) -> str:
    domain = f"{node.domain}." if node.domain else ""
    hint = HINTS_OF_DOMAINS.get(node.domain, "") if domain else HINTS.get(node.op_type, "")
    return f"node {label(node)} ({domain}{node.op_type}): this operator is not supported{hint}"


def label(node: onnx.NodeProto) -> str:
    """How a node is called in messages: its name, else its first output."""
    return repr(node.name or next(filter(None, node.output), node.op_type))
