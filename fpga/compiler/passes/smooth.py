"""Smooth activations by the products that spell them."""

from __future__ import annotations

from typing import ClassVar

from ..graph import AnyNode, Graph, Piecewise, Product


class RecognizeSilu:
    """x * sigmoid(x): one piecewise quadratic of its own, with fewer comparisons and no product."""

    name: ClassVar[str] = "recognize-silu"
    gain: ClassVar[str] = "fewer comparisons, and no product"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        producers = graph.producers()

        def gate_of(source: str, gate: str) -> bool:
            node = producers.get(gate)
            return isinstance(node, Piecewise) and node.function == "sigmoid" and node.inputs == (source,)

        nodes: list[AnyNode] = []
        for node in graph.nodes:
            if isinstance(node, Product):
                for source, gate in (node.inputs, node.inputs[::-1]):
                    if gate_of(source, gate):
                        node = Piecewise(node.name, (source,), node.output, "silu")
                        break
            nodes.append(node)
        changed = any(new is not old for new, old in zip(nodes, graph.nodes, strict=True))
        return graph.with_nodes(nodes), changed
