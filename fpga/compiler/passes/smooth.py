"""Smooth activations: recognized by the products that spell them, and computed finer where that costs little."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ...program.operators import comparison_count
from ..graph import AnyNode, Combine, Graph, Piecewise, Product, Relu
from ..inventory import graph_operators
from ..piecewise_tables import FINER, PIECEWISE

#: Constants in models are float32.
CONSTANTS_TOLERANCE = 1e-5
#: Finer tables together may take this part of all comparisons more.
FINER_SHARE = 0.02


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


def _with_curves(
    graph: Graph, function: str, found: Callable[[Product, Mapping[str, AnyNode]], tuple[str, float] | None]
) -> tuple[Graph, bool]:
    """The graph with c times a piecewise function of x in place of every product of which `found` says x and c."""
    producers, nodes, changed = graph.producers(), list[AnyNode](), False
    for node in graph.nodes:
        curve = found(node, producers) if isinstance(node, Product) else None
        if curve is None:
            nodes.append(node)
            continue
        source, factor = curve
        plain = f"{node.output}.{function}"
        nodes.append(Piecewise(f"{node.name}.{function}", (source,), plain, function))
        nodes.append(Combine(node.name, (plain,), node.output, (np.array([factor]),)))
        graph = replace(graph, shapes={**graph.shapes, plain: graph.shapes[node.output]})
        changed = True
    return graph.with_nodes(nodes), changed


class RecognizeGelu:
    """x (1 + erf(x / √2)) / 2, however scaled: one piecewise quadratic, with fewer comparisons and no product."""

    name: ClassVar[str] = "recognize-gelu"
    gain: ClassVar[str] = "fewer comparisons, and no product"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        return _with_curves(graph, "gelu", _gelu_factor)


def _gelu_factor(node: Product, producers: Mapping[str, AnyNode]) -> tuple[str, float] | None:
    """x and 2 a b where the product is a x (b + b erf(x / √2)), which is 2 a b times GELU of x."""
    for first, gate in (node.inputs, node.inputs[::-1]):
        source, outer = _multiple(first, producers)
        name, factor = _multiple(gate, producers)
        raised = producers.get(name)
        if not isinstance(raised, Combine) or len(raised.inputs) != 1:
            continue
        curve = producers.get(raised.inputs[0])
        if not isinstance(curve, Piecewise) or curve.function != "erf":
            continue
        root, inner = _multiple(curve.inputs[0], producers)
        same = np.allclose(raised.addend, raised.scales[0], rtol=CONSTANTS_TOLERANCE)
        alike = raised.scales[0].size == 1 and same and math.isclose(inner, 0.5**0.5, rel_tol=CONSTANTS_TOLERANCE)
        if alike and root == source:
            return source, 2 * outer * factor * float(raised.scales[0][0])
    return None


def _multiple(name: str, producers: Mapping[str, AnyNode]) -> tuple[str, float]:
    """x and a where the tensor is a x; itself and 1 where it is something else."""
    node = producers.get(name)
    if not isinstance(node, Combine) or len(node.inputs) != 1 or node.scales[0].size != 1 or node.addend.any():
        return name, 1.0
    return node.inputs[0], float(node.scales[0][0])


class RecognizeHardSwish:
    """x * clip(x + 3, 0, 6), in any scale: one piecewise quadratic, with a square in place of a product of secrets."""

    name: ClassVar[str] = "recognize-hardswish"
    gain: ClassVar[str] = "a square in place of a product of two secrets"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        return _with_curves(graph, "hardswish", _hard_swish_factor)


def _hard_swish_factor(node: Product, producers: Mapping[str, AnyNode]) -> tuple[str, float] | None:
    """x and c where the product is x * clip(c (x + 3) / 6, 0, c), which is c times HardSwish of x."""
    for source, gate in (node.inputs, node.inputs[::-1]):
        clip = producers.get(gate)
        if not isinstance(clip, Relu) or clip.ceiling is None:
            continue
        line = producers.get(clip.inputs[0])
        if isinstance(line, Combine) and line.inputs == (source,):
            wanted = clip.ceiling / 6
            if np.allclose(line.scales[0], wanted, rtol=CONSTANTS_TOLERANCE) and np.allclose(
                line.addend, 3 * wanted, rtol=CONSTANTS_TOLERANCE
            ):
                return source, clip.ceiling
    return None


class RefineSmall:
    """Small tensors, as the gates of squeeze-and-excitation, take the tables with more segments.

    What a gate is off, all pixels of its channel are off, and its comparisons are few beside theirs.
    """

    name: ClassVar[str] = "refine-small"
    gain: ClassVar[str] = "a smaller error of gates, for few comparisons more"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        smooth = [node for node in graph.nodes if isinstance(node, Piecewise)]
        if not smooth:
            return graph, False
        total = sum(comparison_count(each.shape) for each in graph_operators(graph))
        taken = sum(_added(node, graph) for node in smooth if node.function in FINER.values())
        left = FINER_SHARE * (total - taken) - taken
        nodes: dict[str, AnyNode] = {}
        for node in sorted(smooth, key=lambda each: math.prod(graph.shapes[each.output])):
            if node.function in FINER and (left := left - _added(node, graph)) >= 0:
                nodes[node.output] = replace(node, function=FINER[node.function])
        return graph.with_nodes(nodes.get(node.output, node) for node in graph.nodes), bool(nodes)


def _added(node: Piecewise, graph: Graph) -> int:
    """Comparisons that the finer table of this function takes more."""
    coarse, fine = next(pair for pair in FINER.items() if node.function in pair)
    return (PIECEWISE[fine].comparisons - PIECEWISE[coarse].comparisons) * math.prod(graph.shapes[node.output])
