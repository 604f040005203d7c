"""The last operators of a classifier that whoever learns the logits applies in the clear: nobody needs them shared."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx

from ...program.heads import HEADS
from ..graph import Shape
from .attributes import Unsupported, attributes
from .prune import needed_nodes

#: Operators without a meaning for the head: between its operators, and behind them.
SILENT = frozenset({"Cast", "Identity"})


#: From this opset on, Softmax works along one axis; before, along it and all that follow.
ALONG_ONE_AXIS = 13


def split_head(nodes: Sequence[onnx.NodeProto], output: str) -> tuple[list[onnx.NodeProto], str, list[onnx.NodeProto]]:
    """Take the head off: its operators in the order in which they apply, the logits' name, and the nodes before it."""
    makers = {name: node for node in nodes for name in node.output if name}
    head: list[onnx.NodeProto] = []
    name, logits = output, output
    while (node := makers.get(name)) is not None and node.domain in ("", "ai.onnx") and node.input:
        if node.op_type in HEADS and not (head and node.op_type == "ArgMax"):
            head.insert(0, node)
            logits = node.input[0]
        elif node.op_type not in SILENT:
            break
        name = node.input[0]
    return (head, logits, needed_nodes(list(nodes), logits)) if head else ([], output, list(nodes))


def check_head(node: onnx.NodeProto, logits: Shape, opset: int) -> None:
    """Refuse an operator that does not work on each image's own classes, the second axis of the logits [N, ...]."""
    if node.op_type == "Sigmoid":
        return
    given, joined = attributes(node), node.op_type != "ArgMax" and opset < ALONG_ONE_AXIS
    axis = int(given.get("axis", 0 if node.op_type == "ArgMax" else 1 if joined else -1))
    if not -len(logits) <= axis < len(logits) or axis % len(logits) != 1 or (joined and math.prod(logits[2:]) > 1):
        raise Unsupported(f"it works along axis {axis} of logits {list(logits)}, expected the classes, axis 1")
    if given.get("select_last_index", 0):
        raise Unsupported("it takes the last of the largest, expected the first")
