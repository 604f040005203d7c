"""How much time a walk through a program has left, from what its operations are expected to take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

#: Before so much time and so large a part of the work, nothing is said.
LEAST_S, LEAST_PART = 3.0, 0.02


class TimeLeft:
    """Hears the start of every operation, walk after walk.

    Args:
        efforts: operation -> what it takes, in any unit.
        walks: how often the whole program is walked through.
        clock: seconds.
    """

    def __init__(
        self, efforts: Mapping[str, float], walks: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._efforts, self._clock, self._started = efforts, clock, clock()
        self._total, self._done, self._running = walks * sum(efforts.values()), 0.0, 0.0

    def __call__(self, operation: str) -> str:
        """What is to be added to a line about the operation that starts now: nothing while that is only a guess."""
        self._done += self._running
        self._running = self._efforts.get(operation, 0.0)
        elapsed, part = self._clock() - self._started, self._done / max(self._total, 1e-9)
        if elapsed < LEAST_S or part < LEAST_PART:
            return ""
        return f", about {elapsed * max(0.0, 1 - part) / part:.0f} s left"
