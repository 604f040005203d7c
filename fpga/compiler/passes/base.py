"""The contract of a pass: a small rewriting of the graph that does not change what it computes."""

from __future__ import annotations

from typing import ClassVar, Protocol

from ..graph import Graph


class Pass(Protocol):
    """`apply(graph) -> (graph, changed)`; passes are run in a fixed order, each until it changes nothing.

    `name` is how `--disable` calls it, `gain` says in a few words what it is good for. A pass without which nothing can
    be lowered is `required`.
    """

    name: ClassVar[str]
    gain: ClassVar[str]
    required: ClassVar[bool]

    def apply(self, graph: Graph) -> tuple[Graph, bool]: ...
