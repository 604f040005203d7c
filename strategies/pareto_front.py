"""Accuracy against latency: the front of what was found, how much it covers, and where it has its widest gap."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One finished network: accuracy in 0..1, latency in ms, and the λ (1/ms) that led to it."""

    accuracy: float
    latency_ms: float
    latency_weight: float = 0.0


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats in both, from the fastest to the most accurate; equal points appear once."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.latency_ms, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def hypervolume(points: Iterable[Point], worst_latency_ms: float, worst_accuracy: float = 0.0) -> float:
    """Area that the front dominates, from the reference corner (`worst_latency_ms`, `worst_accuracy`), in ms.

    Divided by (`worst_latency_ms` − fixed latency) · (1 − `worst_accuracy`) it is the share of what could be reached.
    """
    front = [p for p in pareto_front(points) if p.latency_ms < worst_latency_ms and p.accuracy > worst_accuracy]
    ends = [point.latency_ms for point in front[1:]] + [worst_latency_ms]
    return sum((end - p.latency_ms) * (p.accuracy - worst_accuracy) for p, end in zip(front, ends))


def gaps(front: Sequence[Point]) -> list[tuple[float, Point, Point]]:
    """(width, left, right) of neighbours on a front, the widest first; both axes are scaled to the front's extent."""
    if len(front) < 2:
        return []
    latency_extent = max(front[-1].latency_ms - front[0].latency_ms, 1e-12)
    accuracy_extent = max(front[-1].accuracy - front[0].accuracy, 1e-12)
    widths = [
        (
            ((b.latency_ms - a.latency_ms) / latency_extent) ** 2 + ((b.accuracy - a.accuracy) / accuracy_extent) ** 2,
            a,
            b,
        )
        for a, b in itertools.pairwise(front)
    ]
    return sorted(widths, key=lambda gap: -gap[0])
