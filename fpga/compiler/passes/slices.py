"""Activations by slices of channels: neighbours of one kind are one slice, and slices are cut before a truncation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, ClassVar

import numpy as np

from ...program.picks import channel_offsets
from ..graph import AnyNode, Combine, Graph, Pick, Polynomial
from ..slices import Slice, slices_of


class JoinSlices:
    """Neighbouring slices of channels under one activation are one slice; all of them are the tensor itself."""

    name: ClassVar[str] = "join-slices"
    gain: ClassVar[str] = "one opening for neighbouring slices"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        for node in graph.nodes:
            parts = slices_of(graph, node)
            runs = _runs(parts) if parts else []
            whole = bool(runs) and len(runs) == 1 and _covers(graph, runs[0])
            if parts and (len(runs) < len(parts) or whole):
                return _joined(graph, node, parts, runs, whole), True
        return graph, False


def _runs(parts: Sequence[Slice]) -> list[list[Slice]]:
    """Neighbours of one kind whose channels follow each other."""
    starts, last = [0], None
    for part in parts:
        follows = last is not None and part.kind == last.kind and part.first == last.end
        starts.append(starts[-1] + (not follows))
        last = part
    return [[part for part, _ in run] for _, run in groupby(zip(parts, starts[1:]), key=lambda pair: pair[1])]


def _covers(graph: Graph, run: Sequence[Slice]) -> bool:
    return (run[0].first, run[-1].end) == (0, graph.shapes[run[0].source][0])


def _joined(graph: Graph, node: AnyNode, parts: Sequence[Slice], runs: Sequence[Sequence[Slice]], whole: bool) -> Graph:
    """The graph with a slice for every run in place of those that `node` puts side by side."""
    source, shapes = parts[0].source, dict(graph.shapes)
    shape = shapes[source]
    made: list[AnyNode] = []
    outputs: list[str] = []
    for number, run in enumerate(runs):
        first, end = run[0].first, run[-1].end
        taken, result = source, node.output if whole else f"{node.output}.slice{number}"
        if not whole:
            taken = result if run[0].act is None else f"{result}.taken"
            shapes[taken] = shapes[result] = (end - first, *shape[1:])
            made.append(Pick(f"{node.name}.slice{number}.taken", (source,), taken, channel_offsets(first, end, shape)))
        acts = [part.act for part in run if part.act is not None]
        if acts:
            name = node.name if whole else f"{node.name}.slice{number}"
            made.append(_together(acts, [part.end - part.first for part in run], name, taken, result))
        elif whole:
            made.append(Combine(node.name, (source,), node.output, (np.ones(1),)))
        outputs.append(result)
    if not whole:
        made.append(replace(node, inputs=tuple(outputs)))
    gone = set(node.inputs) | {part.act.inputs[0] for part in parts if part.act is not None}
    kept: list[AnyNode] = []
    for other in graph.nodes:
        if other is node:
            kept += made
        elif other.output not in gone:
            kept.append(other)
    return replace(graph, shapes=shapes).with_nodes(kept)


def _together(acts: Sequence[AnyNode], sizes: Sequence[int], name: str, source: str, output: str) -> AnyNode:
    """One node for neighbouring slices of one kind, its numbers channel by channel."""
    changed: dict[str, Any] = {"name": name, "inputs": (source,), "output": output}
    first = acts[0]
    if isinstance(first, Polynomial):
        for key in ("square", "linear", "addend"):
            changed[key] = _beside([getattr(act, key) for act in acts], sizes)
        return replace(first, **changed)
    if isinstance(first, Combine):
        scales = (_beside([act.scales[0] for act in acts if isinstance(act, Combine)], sizes),)
        addend = _beside([act.addend for act in acts if isinstance(act, Combine)], sizes)
        return replace(first, **changed, scales=scales, addend=addend)
    return replace(first, **changed)


def _beside(values: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """Per-channel numbers of slices as those of all; one number where all agree."""
    found = np.concatenate([np.broadcast_to(value, size) for value, size in zip(values, sizes, strict=True)])
    return found[:1] if all(value.size == 1 for value in values) and (found == found[0]).all() else found


class CutBeforeTruncation:
    """A product or sum of which only slices are read stays untruncated until they are cut: each truncates its own.

    The word that a truncation opens is then the one that the slice's activation needs, and no slice is opened twice.
    """

    name: ClassVar[str] = "cut-before-truncation"
    gain: ClassVar[str] = "no opening of a slice beside that of its tensor"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        read: dict[str, list[AnyNode]] = {graph.output: []}
        for node in graph.nodes:
            for name in node.inputs:
                read.setdefault(name, []).append(node)
        cut = {
            part.source
            for node in graph.nodes
            for part in slices_of(graph, node) or ()
            if part.source not in (graph.input, graph.output)
            and all(isinstance(reader, Pick) for reader in read[part.source])
        }
        return replace(graph, deferred=graph.deferred | cut), not cut <= graph.deferred
