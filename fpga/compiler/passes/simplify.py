"""Small local rewritings: nodes that do nothing, zeros that a convolution can add itself, poolings that go first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, TypeAlias

from ..graph import AnyNode, AvgPool, Combine, Conv, Graph, MaxPool, Pad, Relu, rename_inputs
from .poolings import flat_logits, merge_poolings


class RemoveIdentities:
    """y = 1 * x + 0, a pooling of single pixels, padding by nothing; poolings of what a pooling leaves are one."""

    name: ClassVar[str] = "remove-identities"
    gain: ClassVar[str] = "no work for nodes that copy"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        names: dict[str, str] = {}
        nodes: list[AnyNode] = []
        graph, merged = merge_poolings(graph)
        graph, flat = flat_logits(graph)
        for original in graph.nodes:
            node = rename_inputs(original, names)
            if _is_identity(node) and not (node.output == graph.output and node.inputs[0] == graph.input):
                names[node.output] = node.inputs[0]
            else:
                nodes.append(node)
        return graph.with_nodes(nodes, names.get(graph.output, graph.output)), merged or flat or bool(names)


def _is_identity(node: AnyNode) -> bool:
    match node:
        case Combine():
            return len(node.inputs) == 1 and bool((node.scales[0] == 1).all()) and not node.addend.any()
        case MaxPool() | AvgPool():
            single = (node.kernel, node.stride, node.padding) == ((1, 1), (1, 1), (0, 0, 0, 0))
            return single and (isinstance(node, MaxPool) or node.divisor == 1)
        case Pad():
            return not any(node.padding)
    return False


class MergePadding:
    """A Pad that only convolutions and average poolings read becomes their own padding."""

    name: ClassVar[str] = "merge-padding"
    gain: ClassVar[str] = "no copy of the image"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        producers = graph.producers()
        readers: dict[str, list[AnyNode]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                readers.setdefault(name, []).append(node)
        merged = {
            node.output
            for node in graph.nodes
            if isinstance(node, Pad)
            and node.output != graph.output
            and all(isinstance(reader, Conv | AvgPool) for reader in readers.get(node.output, ()))
        }
        nodes: list[AnyNode] = []
        for node in graph.nodes:
            pad = producers.get(node.inputs[0])
            if isinstance(node, Conv | AvgPool) and isinstance(pad, Pad) and pad.output in merged:
                top, left, bottom, right = (int(a + b) for a, b in zip(node.padding, pad.padding, strict=True))
                node = replace(node, inputs=pad.inputs, padding=(top, left, bottom, right))
            if node.output not in merged:
                nodes.append(node)
        return graph.with_nodes(nodes), bool(merged)


class MaxPoolBeforeRelu:
    """max(relu(x)) = relu(max(x)): the ReLU then has only the pooled elements to compare."""

    name: ClassVar[str] = "maxpool-before-relu"
    gain: ClassVar[str] = "fewer comparisons"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        def swap(relu: AnyNode, pool: AnyNode) -> Swapped | None:
            if not (isinstance(pool, MaxPool) and isinstance(relu, Relu)):
                return None
            pooled = f"{pool.output}.before_relu"
            first = replace(pool, inputs=relu.inputs, output=pooled)
            return first, replace(relu, inputs=(pooled,), output=pool.output), graph.shapes[pool.output]

        return _pool_first(graph, swap)


class AveragePoolFirst:
    """mean(W x + b) = W mean(x) + b: a pointwise convolution of the pooled image only."""

    name: ClassVar[str] = "average-pool-first"
    gain: ClassVar[str] = "fewer opened elements and products"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        def swap(conv: AnyNode, pool: AnyNode) -> Swapped | None:
            if not (isinstance(pool, AvgPool) and isinstance(conv, Conv) and _commute(pool, conv)):
                return None
            if graph.shapes[pool.output][1] >= graph.shapes[conv.output][1]:
                return None
            pooled = f"{pool.output}.before_conv"
            first = replace(pool, inputs=conv.inputs, output=pooled)
            bias = conv.bias * (pool.kernel[0] * pool.kernel[1] / pool.divisor)
            then = replace(conv, inputs=(pooled,), output=pool.output, bias=bias)
            return first, then, (graph.shapes[conv.inputs[0]][0], *graph.shapes[pool.output][1:])

        return _pool_first(graph, swap)


#: The pooling that comes first now, what follows it, and the shape of the tensor between them.
Swapped: TypeAlias = tuple[AnyNode, AnyNode, tuple[int, ...]]


def _pool_first(graph: Graph, swap: Callable[[AnyNode, AnyNode], Swapped | None]) -> tuple[Graph, bool]:
    """Swap each pooling with the node before it, where `swap(before, pooling)` knows how and nobody else reads that."""
    uses, producers = graph.uses(), graph.producers()
    shapes = dict(graph.shapes)
    nodes: list[AnyNode] = []
    dropped: set[str] = set()
    for node in graph.nodes:
        before = producers.get(node.inputs[0])
        swapped = swap(before, node) if before is not None and uses[before.output] == 1 else None
        if before is None or swapped is None:
            nodes.append(node)
            continue
        first, then, shape = swapped
        shapes[first.output] = shape
        nodes += [first, then]
        dropped.add(before.output)
    kept = [node for node in nodes if node.output not in dropped]
    return replace(graph, shapes=shapes).with_nodes(kept), bool(dropped)


def _commute(pool: AvgPool, conv: Conv) -> bool:
    """A pointwise convolution, and windows without padding, in which the bias counts everywhere alike."""
    pointwise = (*conv.weight.shape[2:], *conv.stride) == (1, 1, 1, 1)
    return pointwise and not any(conv.padding) and not any(pool.padding)
