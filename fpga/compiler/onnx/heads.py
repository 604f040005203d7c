"""The last operators of a classifier that whoever learns the logits applies in the clear: nobody needs them shared."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx
from onnx import TensorProto

from ...program.heads import HEADS
from ..graph import Shape
from .attributes import FLOATING, Unsupported, attributes
from .prune import needed_nodes

#: Types of integers in which a class's number stays what it is.
COUNTING = frozenset({TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64})
#: What leaves numbers in their order, and may follow the head.
KEEPS_ORDER = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
#: From this opset on, Softmax works along one axis; before, along it and all that follow.
ALONG_ONE_AXIS = 13


def split_head(nodes: Sequence[onnx.NodeProto], output: str) -> tuple[list[onnx.NodeProto], str, list[onnx.NodeProto]]:
    """Take the head off: its operators in the order in which they apply, the logits' name, and the nodes before it.

    Between its operators, and behind them, may be what changes no number: a cast to integers is only behind an argmax,
    and between them axes are only joined to one of the classes, which `check_head` asks for.
    """
    makers = {name: node for node in nodes for name in node.output if name}
    head: list[onnx.NodeProto] = []
    between: list[onnx.NodeProto] = []
    name, logits, whole = output, output, False
    while (node := makers.get(name)) is not None and node.domain in ("", "ai.onnx") and node.input:
        counts = node.op_type == "ArgMax"
        if node.op_type in HEADS and not (head if counts else whole):
            head = [node, *between, *head]
            logits, whole, between = node.input[0], False, []
        elif node.op_type == "Cast" and (to := _cast_to(node)) in FLOATING | COUNTING:
            whole = whole or to in COUNTING
        elif head and _joins_axes(node):
            between.insert(0, node)
        elif node.op_type != "Identity" and (head or node.op_type not in KEEPS_ORDER):
            break
        name = node.input[0]
    return (head, logits, needed_nodes(list(nodes), logits)) if head else ([], output, list(nodes))


def _joins_axes(node: onnx.NodeProto) -> bool:
    """Whether it makes [N, classes] of [N, classes, 1, 1]."""
    return node.op_type == "Flatten" and all(each.name == "axis" and each.i == 1 for each in node.attribute)


def _cast_to(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "to"), TensorProto.UNDEFINED)


def check_head(node: onnx.NodeProto, logits: Shape, opset: int) -> None:
    """Refuse an operator that does not work on each image's own classes, the second axis of the logits [N, ...]."""
    if node.op_type == "Sigmoid":
        return
    if node.op_type == "Flatten":
        if math.prod(logits[2:]) > 1:
            raise Unsupported(f"it joins classes and pixels of {list(logits)} between two operators of the head")
        return
    given, joined = attributes(node), node.op_type != "ArgMax" and opset < ALONG_ONE_AXIS
    axis = int(given.get("axis", 0 if node.op_type == "ArgMax" else 1 if joined else -1))
    if not -len(logits) <= axis < len(logits) or axis % len(logits) != 1 or (joined and math.prod(logits[2:]) > 1):
        raise Unsupported(f"it works along axis {axis} of logits {list(logits)}, expected the classes, axis 1")
    if given.get("select_last_index", 0):
        raise Unsupported("it takes the last of the largest, expected the first")
