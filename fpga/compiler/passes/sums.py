"""Sums of products are formed before their truncation, so that one truncation serves the whole sum."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..fixed_point.formats import is_exact
from ..graph import Combine, Conv, Graph, Linear


class AddBeforeTruncation:
    """A convolution that only a sum reads stays untruncated until it is added.

    The other summands are multiplied by the power of two that aligns them. A block that adds two convolutions truncates
    once instead of twice; and the word that a truncation opens is that of the sum, which its ReLU or X2act needs.
    """

    name: ClassVar[str] = "add-before-truncation"
    gain: ClassVar[str] = "one truncation or opening fewer per residual block"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        uses, producers = graph.uses(), graph.producers()
        deferred = {
            name
            for node in graph.nodes
            if isinstance(node, Combine) and len(node.inputs) > 1 and all(map(is_exact, node.scales))
            for name in node.inputs
            if uses[name] == 1 and isinstance(producers.get(name), Conv | Linear)
        }
        return replace(graph, deferred=frozenset(deferred)), deferred != graph.deferred
