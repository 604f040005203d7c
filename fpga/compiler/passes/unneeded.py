"""What is computed for nobody: branches that are multiplied by zero, and comparisons under a mask of zeros."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..graph import AnyNode, AvgPool, Combine, Graph, MaxPool, Pick, PixelAffine, Polynomial, Product, Relu, Shape

#: Masks of more elements than this stay as they are: which comparisons they leave is listed word by word.
LARGEST_MASK = 2**20


def drop_zero_branches(graph: Graph) -> tuple[Graph, bool]:
    """Sums without what they multiply by zero, and with what is the same for every image as their constant."""
    constants: dict[str, np.ndarray] = {}
    nodes: list[AnyNode] = []
    changed = False
    for node in graph.nodes:
        slim = _without_constants(node, constants)
        changed |= slim is not node
        value = _constant(slim, constants)
        if value is not None:
            constants[node.output] = value
        nodes.append(slim)
    return (graph.with_nodes(nodes) if changed else graph), changed


def _without_constants(node: AnyNode, constants: Mapping[str, np.ndarray]) -> AnyNode:
    match node:
        case Product(name, (first, second), output) if first in constants or second in constants:
            known, other = (first, second) if first in constants else (second, first)
            return Combine(name, (other,), output, (constants[known],))
        case Combine():
            terms = list(zip(node.inputs, node.scales, strict=True))
            kept = [(name, scale) for name, scale in terms if scale.any() and name not in constants]
            if not kept or len(kept) == len(terms):
                return node
            addend = node.addend
            for name, scale in terms:
                if name in constants and scale.any():
                    addend = addend + scale * constants[name]
            return replace(node, inputs=tuple(n for n, _ in kept), scales=tuple(s for _, s in kept), addend=addend)
    return node


def _constant(node: AnyNode, constants: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The value per channel of a tensor that is the same for every image."""
    if isinstance(node, Combine) and all(name in constants or not scale.any() for name, scale in
                                         zip(node.inputs, node.scales, strict=True)):  # fmt: skip
        value = node.addend
        for name, scale in zip(node.inputs, node.scales, strict=True):
            value = value + scale * constants.get(name, np.zeros(1))
        return value
    if isinstance(node, PixelAffine) and not node.scale.any() and not node.addend.any():
        return np.zeros(1)
    known = constants.get(node.inputs[0])
    if known is None:
        return None
    match node:
        case Relu():
            return np.clip(known, 0, node.ceiling)
        case Polynomial():
            return (node.square * known + node.linear) * known + node.addend
        case MaxPool():
            return known
        case AvgPool() if not any(node.padding):
            return known * math.prod(node.kernel) / node.divisor
    return None


def compare_under_masks(graph: Graph) -> tuple[Graph, bool]:
    """A ReLU that only a public mask of zeros reads compares the other elements alone."""
    uses, producers = graph.uses(), graph.producers()
    masked: dict[str, PixelAffine] = {}
    for node in graph.nodes:
        before = producers.get(node.inputs[0])
        if isinstance(node, PixelAffine) and isinstance(before, Relu) and uses[before.output] == 1:
            zeros = np.broadcast_to(node.scale == 0, graph.shapes[node.output])
            if zeros.any() and not zeros.all() and zeros.size <= LARGEST_MASK:
                masked[before.output] = node
    if not masked:
        return graph, False
    shapes = dict(graph.shapes)
    nodes: list[AnyNode] = []
    for node in graph.nodes:
        if isinstance(node, Relu) and node.output in masked:
            continue
        before = producers.get(node.inputs[0])
        if isinstance(node, PixelAffine) and isinstance(before, Relu) and before.output in masked:
            nodes += _compared_alone(before, node, shapes)
        else:
            nodes.append(node)
    return replace(graph, shapes=shapes).with_nodes(nodes), True


def _compared_alone(relu: Relu, mask: PixelAffine, shapes: dict[str, Shape]) -> list[AnyNode]:
    """Gather the elements that count, compare them, put them back among zeros."""
    shape = shapes[mask.output]
    _channels, height, width = shape
    counts = np.broadcast_to(mask.scale != 0, shape).reshape(-1)
    places = np.where(counts, np.cumsum(counts) - 1, -1)
    gathered, compared, spread = (f"{relu.output}.{step}" for step in ("gathered", "compared", "spread"))
    plain = bool(np.isin(mask.scale, (0, 1)).all()) and not mask.addend.any()
    image = mask.output if plain else f"{relu.output}.image"
    shapes |= {gathered: (int(counts.sum()),), compared: (int(counts.sum()),), spread: (counts.size,), image: shape}
    offsets = (
        tuple(range(0, counts.size, height * width)),
        tuple(range(0, height * width, width)),
        tuple(range(width)),
    )
    nodes: list[AnyNode] = [
        Pick(f"{relu.name}.gathered", relu.inputs, gathered, (tuple(map(int, np.flatnonzero(counts))),)),
        replace(relu, inputs=(gathered,), output=compared),
        Pick(f"{relu.name}.spread", (compared,), spread, (tuple(map(int, places)),)),
        Pick(f"{relu.name}.image", (spread,), image, offsets),
    ]
    return nodes if plain else [*nodes, replace(mask, inputs=(image,))]
