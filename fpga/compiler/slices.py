"""Slices of channels of one tensor that a concatenation puts side by side, each under an activation of its own."""

from __future__ import annotations

from dataclasses import dataclass

from ..program.picks import channel_range
from .graph import AnyNode, Combine, Concat, Graph, PatchRelu, Pick, Piecewise, Polynomial, Relu


@dataclass(frozen=True)
class Slice:
    """Channels [first, end) of a tensor, and what is computed of them alone; no node: they stay as they are."""

    source: str
    first: int
    end: int
    act: AnyNode | None

    @property
    def kind(self) -> tuple[object, ...]:
        """Slices of one kind are computed together."""
        match self.act:
            case Relu():
                return Relu, self.act.ceiling
            case PatchRelu():
                return PatchRelu, self.act.patch
            case Piecewise():
                return Piecewise, self.act.function
        return (type(self.act),)


def slices_of(graph: Graph, node: AnyNode) -> list[Slice] | None:
    """The slices that a Concat puts side by side, where all are channels of one tensor; None where they are not."""
    if not isinstance(node, Concat):
        return None
    uses, producers = graph.uses(), graph.producers()
    found = []
    for name in node.inputs:
        maker, act = producers.get(name), None
        if isinstance(maker, Relu | PatchRelu | Polynomial | Piecewise | Combine) and len(maker.inputs) == 1:
            act, maker = maker, producers.get(maker.inputs[0])
        if not isinstance(maker, Pick) or uses[name] != 1 or uses[maker.output] != 1:
            return None
        taken = channel_range(maker.offsets, graph.shapes[maker.inputs[0]])
        if taken is None:
            return None
        found.append(Slice(maker.inputs[0], *taken, act))
    return found if len({part.source for part in found}) == 1 else None
