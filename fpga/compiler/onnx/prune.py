"""What of a file is compiled at all: the nodes that the output depends on, less what is multiplied by zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from .constants import fold_constants
from .importer import Importer, Unsupported

STANDARD = ("", "ai.onnx")


def needed_nodes(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes on which `output` depends, in their order; outputs that nobody reads do not keep a node."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed.intersection(filter(None, node.output)):
            kept.append(node)
            needed.update(filter(None, node.input))
            needed.update(name for name in _outer_names(node) if name)
    return kept[::-1]


def _outer_names(node: onnx.NodeProto) -> list[str]:
    """Values that the subgraphs of a node (If, Loop) may read from outside."""
    names = []
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names += [*inner.input, *_outer_names(inner)]
    return names


def without_decided(
    importer: Importer, nodes: Sequence[onnx.NodeProto], model: onnx.ModelProto, output: str
) -> list[onnx.NodeProto]:
    """Fold what is constant, and leave out the branches that a constant zero multiplies, whatever they hold."""
    rest = [node for node in nodes if not _folded(importer, node)]
    zeros = {
        node.output[0]
        for node in rest
        if (node.domain in STANDARD and node.op_type == "Mul")
        and any(_is_zero(importer.constants.get(name)) for name in node.input)
    }
    if not zeros:
        return rest
    shapes = _inferred_shapes(model)
    for place, node in enumerate(rest):
        if node.domain in STANDARD and node.op_type in ("Add", "Sum") and zeros.intersection(node.input):
            kept = [name for name in node.input if name not in zeros]
            known = [shapes.get(name) for name in kept]
            if not kept:
                zeros.add(node.output[0])
            elif all(name in shapes and shapes[name] in known for name in node.input if name in zeros):
                operator = "Identity" if len(kept) == 1 else node.op_type
                rest[place] = helper.make_node(operator, kept, node.output, name=node.name)
    return needed_nodes(rest, output)


def decided_branch(importer: Importer, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """The nodes that stand for an If whose condition is constant: those of its branch; None of other nodes."""
    if node.domain not in STANDARD or node.op_type != "If" or len(node.input) != 1:
        return None
    condition = importer.constants.get(node.input[0])
    if condition is None or condition.size != 1:
        return None
    wanted = "then_branch" if condition.reshape(-1)[0] else "else_branch"
    branch = next((attribute.g for attribute in node.attribute if attribute.name == wanted), None)
    if branch is None or len(branch.output) != len(node.output) or branch.sparse_initializer:
        return None
    inside = {tensor.name for tensor in branch.initializer} | {name for each in branch.node for name in each.output}
    names = {name: f"{node.output[0]}/{name}" for name in inside if name}
    given = [helper.make_node("Constant", [], [names[each.name]], value=each) for each in branch.initializer]
    results = [
        helper.make_node("Identity", [names.get(made.name, made.name)], [output])
        for made, output in zip(branch.output, node.output, strict=True)
        if output
    ]
    return [*given, *(_renamed(each, names) for each in branch.node), *results]


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """The node, and what its own branches read from outside, with other names of values."""
    moved = onnx.NodeProto()
    moved.CopyFrom(node)
    moved.name = names.get(node.name, node.name)
    moved.input[:] = [names.get(name, name) for name in node.input]
    moved.output[:] = [names.get(name, name) for name in node.output]
    for attribute in moved.attribute:
        for graph in (attribute.g, *attribute.graphs):
            inner = [_renamed(each, names) for each in graph.node]
            del graph.node[:]
            graph.node.extend(inner)
            for made in graph.output:
                made.name = names.get(made.name, made.name)
    return moved


def _folded(importer: Importer, node: onnx.NodeProto) -> bool:
    try:
        return set(filter(None, node.input)) <= importer.constants.keys() and fold_constants(importer, node)
    except (Unsupported, TypeError, ValueError, OverflowError, MemoryError):
        return False  # it is told when the node is imported, if anything needs it then


def _is_zero(value: np.ndarray | None) -> bool:
    return value is not None and value.size > 0 and value.dtype.kind == "f" and not value.any()


def _inferred_shapes(model: onnx.ModelProto) -> Mapping[str, list[int | str]]:
    """Sizes and names of the axes of values, as far as ONNX infers them: a sum must not lose its broadcasting."""
    undeclared = onnx.ModelProto()
    undeclared.CopyFrom(model)
    del undeclared.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(undeclared).graph
    except Exception:  # a damaged node, whatever it makes onnx raise: nothing is known, and its import says what it is
        return {}
    shapes = {
        entry.name: [axis.dim_value or axis.dim_param for axis in entry.type.tensor_type.shape.dim]
        for entry in (*inferred.input, *inferred.value_info)
        if entry.type.tensor_type.HasField("shape")
    }
    return {name: shape for name, shape in shapes.items() if all(shape)}
