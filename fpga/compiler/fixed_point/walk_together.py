"""Several graphs in floating point at once: a tensor that they have in common is computed once.

What a pass saves is told by the program without it, whose graph differs in a few nodes. Two nodes make the same tensor
where they are of one kind, with the same numbers, and read the same tensors; max(relu(x)) = relu(max(x)) besides, so
that a pooling that went first leaves what follows the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import fields
from typing import TypeAlias

import numpy as np

from ..float_interpreter import evaluate_node
from ..graph import AnyNode, Graph, MaxPool, Node, Relu

#: Arrays of more bytes than this are the same only where they are one object: weights, which passes hand on.
COMPARED_BYTES = 1 << 16
INPUT = 0

Key: TypeAlias = tuple[Hashable, ...]
#: Where a tensor stands: number of the graph, and its name there.
Place: TypeAlias = tuple[int, str]


def walk_together(graphs: Sequence[Graph], images: np.ndarray) -> Iterator[tuple[list[Place], np.ndarray]]:
    """Every tensor of the graphs, which read the same images: where it stands, and its value, float32 [N, *shape].

    Each is forgotten after its last use. Those of the first graph come in its order.
    """
    tensors = _Tensors()
    for number, graph in enumerate(graphs):
        tensors.add(number, graph)
    values = {INPUT: np.ascontiguousarray(images, dtype=np.float32)}
    yield tensors.places[INPUT], values[INPUT]
    remaining = Counter(read for made in tensors.made.values() for read in made[1])
    for tensor in tensors.in_order():
        node, reads = tensors.made[tensor]
        with np.errstate(over="ignore", invalid="ignore"):
            value = evaluate_node(node, [values[read] for read in reads])
        if remaining[tensor]:
            values[tensor] = value
        yield tensors.places[tensor], value
        for read in reads:
            remaining[read] -= 1
            if not remaining[read]:
                values.pop(read, None)


class _Tensors:
    """The distinct tensors of some graphs, by number: the input is 0, and all are numbered after what they read.

    `made[tensor]` is the first node that makes it and what that node reads; `ranks` order them so that a tensor of a
    later graph comes right behind what it reads, which then need not be kept for long.
    """

    def __init__(self) -> None:
        self.numbers: dict[Key, int] = {}
        self.keys: list[Key] = [()]
        self.places: list[list[Place]] = [[]]
        self.ranks = [0]
        self.made: dict[int, tuple[AnyNode, tuple[int, ...]]] = {}

    def add(self, number: int, graph: Graph) -> None:
        named = {graph.input: INPUT}
        self.places[INPUT].append((number, graph.input))
        for node in graph.nodes:
            reads = tuple(named[name] for name in node.inputs)
            tensor = named[node.output] = self._numbered(self._key(node, reads))
            self.places[tensor].append((number, node.output))
            if tensor not in self.made:
                self.made[tensor] = node, reads
                self.ranks[tensor] = tensor if not number else max(self.ranks[read] for read in reads)

    def in_order(self) -> list[int]:
        return sorted(self.made, key=lambda tensor: (self.ranks[tensor], tensor))

    def _numbered(self, key: Key) -> int:
        tensor = self.numbers.setdefault(key, len(self.keys))
        if tensor == len(self.keys):
            self.keys.append(key)
            self.places.append([])
            self.ranks.append(0)
        return tensor

    def _key(self, node: AnyNode, reads: tuple[int, ...]) -> Key:
        """Equal for nodes that make the same tensor."""
        own: Key = (type(node).__name__, *(_content(getattr(node, name)) for name in _numbers(type(node))))
        source = self.keys[reads[0]] if isinstance(node, MaxPool) else ()
        if source and source[0] == Relu.__name__:
            pooled = self.numbers.get((*own, source[-1]))  # the pooling of what the ReLU reads, of an earlier graph
            if pooled is not None:
                return (*source[:-1], (pooled,))
        return (*own, reads)


def _numbers(kind: type[Node]) -> list[str]:
    """Fields of a kind of node that say what it computes."""
    named = {field.name for field in fields(Node)}
    return [field.name for field in fields(kind) if field.name not in named]


def _content(value: object) -> Hashable:
    if isinstance(value, np.ndarray):
        if value.nbytes > COMPARED_BYTES:
            return id(value)
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, tuple):
        return tuple(map(_content, value))
    if isinstance(value, Hashable):
        return value
    raise TypeError(f"a node with a {type(value).__name__} cannot be compared")
