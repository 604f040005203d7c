"""Recognize chains of additions and multiplications as polynomials of one tensor, in all their spellings.

Every elementwise value is carried as a quadratic form a x² + b x + c of the tensor x that it comes from. Sums of the
same base add their coefficients and products multiply them, so that k*x*x + w*x + b, x*(k*x + w) + b, Pow and a
BatchNorm around any of them become the same node. Values of degree above two, and sums of different bases, are bases
of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..graph import AnyNode, Combine, Graph, Polynomial, Product
from .unneeded import compare_under_masks, drop_zero_branches


@dataclass(frozen=True, eq=False)
class QuadraticForm:
    """square * x² + linear * x + addend of the tensor `base`, per channel."""

    base: str
    square: np.ndarray
    linear: np.ndarray
    addend: np.ndarray

    def scaled(self, factor: np.ndarray) -> QuadraticForm:
        return QuadraticForm(self.base, self.square * factor, self.linear * factor, self.addend * factor)

    def plus(self, other: QuadraticForm) -> QuadraticForm:
        return QuadraticForm(
            self.base, self.square + other.square, self.linear + other.linear, self.addend + other.addend
        )

    def times(self, other: QuadraticForm) -> QuadraticForm | None:
        """The product, or None where its degree exceeds two."""
        if (self.square.any() and (other.square.any() or other.linear.any())) or (
            other.square.any() and self.linear.any()
        ):
            return None
        return QuadraticForm(
            self.base,
            self.square * other.addend + self.linear * other.linear + self.addend * other.square,
            self.linear * other.addend + self.addend * other.linear,
            self.addend * other.addend,
        )


def _itself(name: str) -> QuadraticForm:
    return QuadraticForm(name, np.zeros(1), np.ones(1), np.zeros(1))


class RecognizePolynomials:
    """Elementwise chains become one `Polynomial` or `Combine` each; products of two tensors stay products."""

    name: ClassVar[str] = "recognize-polynomials"
    gain: ClassVar[str] = "one square and one truncation per activation"
    required: ClassVar[bool] = True

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        forms: dict[str, QuadraticForm] = {graph.input: _itself(graph.input)}
        nodes: list[AnyNode] = []
        for node in graph.nodes:
            form = _form(node, forms)
            if isinstance(node, Product) and form is None and node.inputs[0] == node.inputs[1]:
                form = QuadraticForm(node.inputs[0], np.ones(1), np.zeros(1), np.zeros(1))
            forms[node.output] = form or _itself(node.output)
            nodes.append(_materialized(node, form))
        result, _ = RemoveUnused().apply(graph.with_nodes(nodes))
        return result, _signature(result) != _signature(graph)


def _form(node: AnyNode, forms: dict[str, QuadraticForm]) -> QuadraticForm | None:
    """The node as a form of a tensor before it, or None where it is not one."""
    inputs = [forms[name] for name in node.inputs]
    match node:
        case Polynomial():
            squared = inputs[0].times(inputs[0])
            if squared is None:
                return QuadraticForm(node.inputs[0], node.square, node.linear, node.addend)
            form = squared.scaled(node.square).plus(inputs[0].scaled(node.linear))
            return QuadraticForm(form.base, form.square, form.linear, form.addend + node.addend)
        case Product():
            same = inputs[0].base == inputs[1].base
            return inputs[0].times(inputs[1]) if same else None
        case Combine() if len({form.base for form in inputs}) == 1:
            total = inputs[0].scaled(node.scales[0])
            for form, scale in zip(inputs[1:], node.scales[1:], strict=True):
                total = total.plus(form.scaled(scale))
            return QuadraticForm(total.base, total.square, total.linear, total.addend + node.addend)
    return None


def _materialized(node: AnyNode, form: QuadraticForm | None) -> AnyNode:
    if form is None:
        return node
    if form.square.any():
        return Polynomial(node.name, (form.base,), node.output, form.square, form.linear, form.addend)
    return Combine(node.name, (form.base,), node.output, (form.linear,), form.addend)


def _signature(graph: Graph) -> list[tuple[type, tuple[str, ...], str]]:
    return [(type(node), node.inputs, node.output) for node in graph.nodes]


class RemoveUnused:
    """Nodes that the output does not depend on, what is multiplied by zero among them."""

    name: ClassVar[str] = "remove-unused"
    gain: ClassVar[str] = "nothing is computed for nobody"
    required: ClassVar[bool] = True

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        graph, dropped = drop_zero_branches(graph)
        graph, masked = compare_under_masks(graph)
        needed = {graph.output}
        kept: list[AnyNode] = []
        for node in reversed(graph.nodes):
            if node.output in needed:
                kept.append(node)
                needed.update(node.inputs)
        return graph.with_nodes(reversed(kept)), dropped or masked or len(kept) < len(graph.nodes)
