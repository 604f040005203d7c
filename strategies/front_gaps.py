"""Which λ promises another network on the front: the one in the middle of what a wide gap leaves unexplored.

What a search finds is a step function of λ. Between two neighbouring λ that found networks of the same latency there is
nothing to expect, and a step that is bracketed closely is a jump of the front itself. What remains are stretches of λ
over which the latency changes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .pareto_front import Point, gaps, pareto_front

#: A step between two λ closer than this factor is exhausted: the front jumps there, as far as searches can tell, whose
#: steps are not sharper than that.
EXHAUSTED_RATIO = 1.1


@dataclass(frozen=True)
class Stretch:
    """An interval of λ without a tried λ inside; `step_ms` is how much the latency changes over its surroundings."""

    low: float
    high: float
    step_ms: float = 0.0

    @property
    def log_width(self) -> float:
        return math.log(self.high / self.low)

    @property
    def middle(self) -> float:
        """The middle on a log scale."""
        return math.sqrt(self.low * self.high)


def most_promising(points: Sequence[Point], tried: Iterable[float], low: float, high: float) -> Stretch | None:
    """The stretch of λ in which the next search should lie; None where every step is exhausted.

    For every gap of the front, the stretch between the λ of its ends over which the latency changes most; of these, the
    one with the largest (width of the gap) x (log width of the stretch). Only once no gap has any left does the rest of
    the λ count, where the latency changes but the networks met so far are not on the front.

    Args:
        points: results so far.
        tried: every λ that was issued, with a result or without.
        low, high: range of λ; a λ outside of it, which a user tried by hand, is known but not explored around.
    """
    stretches = changing_stretches(points, [*tried, low, high], low, high)
    best: tuple[float, Stretch] | None = None
    for squared_width, left, right in gaps(pareto_front(points)):
        ends = sorted((left.latency_weight, right.latency_weight))
        within = [stretch for stretch in stretches if ends[0] <= stretch.low and stretch.high <= ends[1]]
        if within:
            found = max(within, key=_promise)
            score = math.sqrt(squared_width) * found.log_width
            best = (score, found) if best is None or score > best[0] else best
    if best is not None:
        return best[1]
    return max(stretches, key=_promise, default=None)


def changing_stretches(points: Iterable[Point], tried: Iterable[float], low: float, high: float) -> list[Stretch]:
    """Stretches within the range between neighbouring results of different latencies, cut where a λ was tried."""
    latencies = {point.latency_weight: point.latency_ms for point in points}
    marks = sorted(set(tried))
    found: list[Stretch] = []
    for first, second in itertools.pairwise(sorted(latencies)):
        if not math.isclose(latencies[first], latencies[second], rel_tol=1e-9):
            step_ms = abs(latencies[second] - latencies[first])
            ends = [first, *(mark for mark in marks if first < mark < second), second]
            found += [
                Stretch(a, b, step_ms)
                for a, b in itertools.pairwise(ends)
                if low <= a and b <= high and b / a >= EXHAUSTED_RATIO
            ]
    return found


def widest(low: float, high: float, tried: Iterable[float]) -> Stretch:
    """The widest stretch, on a log scale, that the λ tried so far leave between `low` and `high`."""
    marks = [low, *sorted(weight for weight in tried if low < weight < high), high]
    return max((Stretch(a, b) for a, b in itertools.pairwise(marks)), key=lambda stretch: stretch.log_width)


def _promise(stretch: Stretch) -> float:
    return stretch.step_ms * stretch.log_width
