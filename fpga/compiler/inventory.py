"""A graph as the operator shapes that protocols price: what a network costs before it is compiled."""

from __future__ import annotations

from rrnet_nni.base.errors import Refusal

from ..program import operators as shapes
from ..program.operators import NamedOperator, OperatorShape
from .graph import AnyNode, AvgPool, Combine, Concat, Conv, Graph, Linear, MaxPool, Pad, Polynomial, Relu, Reshape


def graph_operators(graph: Graph) -> list[NamedOperator]:
    """Every operator of the graph in order; what moves no word is left out.

    Raises:
        Refusal: a product of two tensors is not part of a polynomial.
    """
    found = []
    for node in graph.nodes:
        if (shape := _shape(node, graph)) is not None:
            found.append(NamedOperator(node.name, shape))
    return found


def _shape(node: AnyNode, graph: Graph) -> OperatorShape | None:
    source, result = graph.shapes[node.inputs[0]], graph.shapes[node.output]
    elements = 1
    for size in result:
        elements *= size
    match node:
        case Conv():
            channels, height, width = source
            return shapes.Conv(
                channels,
                height,
                width,
                (node.weight.shape[2], node.weight.shape[3]),
                node.stride,
                node.padding,
                out_channels=node.weight.shape[0],
                groups=node.groups,
            )
        case Linear():
            return shapes.Linear(node.weight.shape[1], node.weight.shape[0])
        case MaxPool() | AvgPool():
            channels, height, width = source
            pooling = shapes.MaxPool if isinstance(node, MaxPool) else shapes.AvgPool
            return pooling(channels, height, width, node.kernel, node.stride, node.padding)
        case Relu():
            return shapes.Relu(elements) if node.ceiling is None else shapes.Relu6(elements)
        case Polynomial():
            return shapes.X2act(elements)
        case Combine():
            return shapes.Add(elements) if len(node.inputs) > 1 else shapes.Affine(elements)
        case Concat() | Pad():
            return shapes.Affine(elements)
        case Reshape():
            return None
    raise Refusal(f"node {node.name!r}: the product of two tensors is not part of a polynomial of one tensor")
