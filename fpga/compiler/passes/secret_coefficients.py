"""The numbers of polynomials become secrets of the server, where the owner of the model wants them to."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..graph import AnyNode, Combine, Graph, Polynomial, is_plain_square
from .secret_norms import channel_product


class SecretCoefficients:
    """y = a x² + b x + c becomes a square and two products with secret weights per channel, added up.

    The constant is the bias of the first one. What is left to see is that there is a polynomial, whether it has a
    linear term, and the formats of its constants. Graphs that do not ask for it stay as they are.
    """

    name: ClassVar[str] = "secret-coefficients"
    gain: ClassVar[str] = "no coefficient of X2act in the public program"
    required: ClassVar[bool] = True

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        if not graph.secret_coefficients:
            return graph, False
        nodes: list[AnyNode] = []
        shapes = dict(graph.shapes)
        for node in graph.nodes:
            parts = _products(node, graph) if isinstance(node, Polynomial) and not is_plain_square(node) else [node]
            shapes.update((part.output, graph.shapes[node.output]) for part in parts)
            nodes += parts
        changed = len(nodes) > len(graph.nodes) or any(a is not b for a, b in zip(nodes, graph.nodes))
        return graph.with_nodes(nodes, shapes=shapes), changed


def _products(node: Polynomial, graph: Graph) -> list[AnyNode]:
    (source,), shape, one = node.inputs, graph.shapes[node.output], np.ones(1)
    square = Polynomial(f"{node.name}.square", (source,), f"{node.output}.squared", one, np.zeros(1), np.zeros(1))

    def product(label: str, name: str, output: str, scale: np.ndarray, bias: np.ndarray) -> AnyNode:
        return channel_product(f"{node.name}.{label}", (name,), output, shape, scale, bias)

    if not node.linear.any():
        return [square, product("curve", square.output, node.output, node.square, node.addend)]
    curve = product("curve", square.output, f"{node.output}.curve", node.square, node.addend)
    slope = product("slope", source, f"{node.output}.slope", node.linear, np.zeros(1))
    return [square, curve, slope, Combine(node.name, (curve.output, slope.output), node.output, (one, one))]
