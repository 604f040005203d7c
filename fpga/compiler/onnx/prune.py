"""What of a file is compiled at all: the nodes that the output depends on."""

from __future__ import annotations

import onnx


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
