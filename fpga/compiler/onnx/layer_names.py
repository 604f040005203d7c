"""Nodes and tensors named after the layers that made them, where torch's exporter has written those down.

`torch.onnx.export(dynamo=True)` calls nodes `node_Conv_12` and tensors `getitem_9`; the path of the module whose
forward made a node stands in its metadata. Reports should say `stages.layer1.0.unit1.conv`, as the model's author does.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

import onnx

SCOPES_KEY = "pkg.torch.onnx.name_scopes"
#: What exporters call every graph.
NAMELESS = frozenset({"", "main_graph", "main", "torch_jit", "torch-jit-export", "graph"})


def name_after_layers(model: onnx.ModelProto) -> None:
    """Rename nodes whose layer is recorded, and the tensors that they make; inputs and outputs keep their names."""
    graph = model.graph
    layers = [_layer_of(node) for node in graph.node]
    # Inner graphs take tensors of the outer one by their names.
    inner = any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute)
    if inner or not any(layers):
        return
    names = _unique([_name(node, layer, layers) for node, layer in zip(graph.node, layers)])
    fixed = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    renamed: dict[str, str] = {}
    taken = {*fixed, *(name for node in graph.node for name in node.output)}
    for node, name, layer in zip(graph.node, names, layers):
        node.name = name
        for number, output in enumerate(node.output):
            wanted = name if number == 0 else f"{name}.{number}"
            if layer and output and output not in fixed and wanted not in taken:
                renamed[output] = wanted
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in graph.value_info:
        value.name = renamed.get(value.name, value.name)


def _layer_of(node: onnx.NodeProto) -> str:
    """Path of the module whose forward made this node; '' where the exporter does not say."""
    for entry in node.metadata_props:
        if entry.key == SCOPES_KEY:
            try:
                scopes = ast.literal_eval(entry.value)
            except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):  # a damaged file
                return ""
            known = isinstance(scopes, list) and len(scopes) > 1 and isinstance(scopes[-2], str)
            return scopes[-2] if known else ""
    return ""


def _name(node: onnx.NodeProto, layer: str, layers: Sequence[str]) -> str:
    """The layer; with the operator behind it where the layer has layers of its own."""
    if not layer:
        return node.op_type.lower()
    return f"{layer}.{node.op_type.lower()}" if any(other.startswith(f"{layer}.") for other in layers) else layer


def _unique(wanted: Sequence[str]) -> list[str]:
    found: list[str] = []
    taken: set[str] = set()
    for name in wanted:
        chosen, count = name, 2
        while chosen in taken:
            chosen, count = f"{name}_{count}", count + 1
        taken.add(chosen)
        found.append(chosen)
    return found
