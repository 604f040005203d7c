"""A graph as the operator shapes that protocols price: what a network costs before it is compiled."""

from __future__ import annotations

import math

from ..program import operators as shapes
from ..program.operators import NamedOperator, OperatorShape
from ..program.picks import channel_range
from .graph import (
    AnyNode,
    AvgPool,
    Combine,
    Concat,
    Conv,
    Graph,
    Linear,
    MaxPool,
    Pad,
    PatchRelu,
    Pick,
    Piecewise,
    PixelAffine,
    Polynomial,
    Product,
    Relu,
    Reshape,
)
from .piecewise_tables import PIECEWISE
from .slices import slices_of


def graph_operators(graph: Graph) -> list[NamedOperator]:
    """Every operator of the graph in order; what moves no word is left out."""
    found = []
    activations = {
        part.act.name: node.name
        for node in graph.nodes
        for part in slices_of(graph, node) or ()
        if part.act is not None
    }
    for node in graph.nodes:
        if isinstance(node, Piecewise):
            found += _piecewise(node, math.prod(graph.shapes[node.output]))
        elif (shape := _shape(node, graph)) is not None:
            found.append(NamedOperator(node.name, shape, activations.get(node.name)))
    return found


def _piecewise(node: Piecewise, elements: int) -> list[NamedOperator]:
    """Comparisons with all knots, the squares of all segments, and their sum."""
    table = PIECEWISE[node.function]
    squares = sum(curve != 0 for curve in table.curves)
    return [
        NamedOperator(f"{node.name}.knots", shapes.Relu(table.comparisons * elements)),
        NamedOperator(f"{node.name}.squares", shapes.Square(squares * elements)),
        NamedOperator(f"{node.name}.sum", shapes.Affine(elements)),
        NamedOperator(f"{node.name}.truncate", shapes.Truncate(elements)),
    ]


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
        case PatchRelu():
            return shapes.PatchRelu(result[0], result[1], result[2], node.patch)
        case Relu():
            return shapes.Relu(elements) if node.ceiling is None else shapes.Relu6(elements)
        case Product():
            return shapes.Mul(elements, math.prod(graph.shapes[node.inputs[1]]))
        case Polynomial():
            return shapes.X2act(elements)
        case Combine():
            return shapes.Add(elements) if len(node.inputs) > 1 else shapes.Affine(elements)
        case Pick() if channel_range(node.offsets, source) is not None:
            return None
        case Concat() | Pad() | Pick() | PixelAffine():
            return shapes.Affine(elements)
        case Reshape():
            return None
    raise ValueError(f"{type(node).__name__} has no operator shape")
