"""The last operators of a classifier that whoever learns the logits applies in the clear: nobody needs them shared."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from ...program.heads import HEADS
from .attributes import attributes
from .prune import needed_nodes

#: Operators without a meaning for the head: between its operators, and behind them.
SILENT = frozenset({"Cast", "Identity"})


def split_head(nodes: Sequence[onnx.NodeProto], output: str) -> tuple[tuple[str, ...], str, list[onnx.NodeProto]]:
    """Take the head off: its operators in the order in which they apply, the logits' name, and the nodes before it."""
    makers = {name: node for node in nodes for name in node.output if name}
    head: list[str] = []
    name, logits = output, output
    while (node := makers.get(name)) is not None and node.domain in ("", "ai.onnx") and node.input:
        if node.op_type in HEADS and _over_classes(node):
            head.append(HEADS[node.op_type])
            logits = node.input[0]
        elif node.op_type not in SILENT:
            break
        name = node.input[0]
    if logits == output:
        return (), output, list(nodes)
    return tuple(reversed(head)), logits, needed_nodes(list(nodes), logits)


def _over_classes(node: onnx.NodeProto) -> bool:
    """Whether it works on each image's own classes; without an axis Softmax does, and ArgMax does not."""
    default = 0 if node.op_type == "ArgMax" else -1
    return node.op_type == "Sigmoid" or attributes(node).get("axis", default) in (1, -1)
