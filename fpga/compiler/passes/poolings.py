"""Other spellings of a classifier's end: poolings axis by axis, sums that are scaled, a convolution of one pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ..graph import AnyNode, AvgPool, Combine, Conv, Graph, Linear, MaxPool, Reshape


def merge_poolings(graph: Graph) -> tuple[Graph, bool]:
    """Rows first and columns then is one pooling; a sum over an image that one number scales is a mean."""
    uses, producers = graph.uses(), graph.producers()
    replaced: dict[str, AnyNode] = {}
    for node in graph.nodes:
        before = producers.get(node.inputs[0])
        if before is None or uses[before.output] != 1 or before.output in replaced:
            continue
        if _is_global_pair(graph, before, node):
            assert isinstance(node, AvgPool | MaxPool)
            assert isinstance(before, AvgPool | MaxPool)
            height, width = graph.shapes[before.inputs[0]][1:]
            whole = replace(node, inputs=before.inputs, kernel=(height, width))
            if isinstance(whole, AvgPool) and isinstance(before, AvgPool):
                whole = replace(whole, divisor=whole.divisor * before.divisor)
            replaced[node.output] = whole
        elif isinstance(node, Combine) and (pool := _scaled_sum(uses, producers, before, node)) is not None:
            replaced[pool.output] = replace(pool, divisor=float(1 / node.scales[0][0]))
            replaced[node.output] = replace(node, scales=(node.scales[0] * 0 + 1,))
    if not replaced:
        return graph, False
    made = [replaced.get(node.output, node) for node in graph.nodes]
    read = {graph.output, *(name for node in made for name in node.inputs)}
    return graph.with_nodes(node for node in made if node.output in read), True


def _is_global_pair(graph: Graph, first: AnyNode, second: AnyNode) -> bool:
    """Two poolings of one kind that reduce an image to a pixel, one axis after the other."""
    for node in (first, second):
        if not isinstance(node, AvgPool | MaxPool) or node.stride != (1, 1) or any(node.padding):
            return False
    assert isinstance(first, AvgPool | MaxPool)
    assert isinstance(second, AvgPool | MaxPool)
    whole = graph.shapes[second.output][1:] == (1, 1)
    return type(first) is type(second) and whole and 1 in first.kernel and 1 in second.kernel


def _scaled_sum(
    uses: Mapping[str, int], producers: Mapping[str, AnyNode], before: AnyNode, node: Combine
) -> AvgPool | None:
    """The sum that `node` alone scales by one positive number, whether or not it was flattened in between."""
    if isinstance(before, Reshape):
        flat, found = before, producers.get(before.inputs[0])
        if found is None or uses[flat.inputs[0]] != 1:
            return None
        before = found
    scale = node.scales[0]
    plain = len(node.inputs) == 1 and not node.addend.any() and bool((scale == scale[0]).all()) and scale[0] > 0
    one = isinstance(before, AvgPool) and before.divisor == 1 and before.kernel != (1, 1) and scale[0] != 1
    return before if isinstance(before, AvgPool) and one and plain else None


def flat_logits(graph: Graph) -> tuple[Graph, bool]:
    """A convolution of a single pixel that is flattened to the logits is a linear layer, which truncates nothing."""
    last = graph.nodes[-1] if graph.nodes else None
    conv = graph.producers().get(last.inputs[0]) if isinstance(last, Reshape) and last.output == graph.output else None
    if not isinstance(conv, Conv) or conv.groups != 1 or graph.uses()[conv.output] != 1:
        return graph, False
    pixel = math.prod(conv.weight.shape[2:]) == 1 and graph.shapes[conv.inputs[0]][1:] == (1, 1)
    if not pixel or any(conv.padding):
        return graph, False
    assert last is not None
    flat = f"{conv.output}.flat_input"
    weight = conv.weight.reshape(len(conv.weight), -1)
    shapes = {**graph.shapes, flat: (math.prod(graph.shapes[conv.inputs[0]]),)}
    made = (Reshape(last.name, conv.inputs, flat), Linear(conv.name, (flat,), last.output, weight, conv.bias))
    kept = [node for node in graph.nodes if node is not conv and node is not last]
    return replace(graph, shapes=shapes).with_nodes([*kept, *made]), True
