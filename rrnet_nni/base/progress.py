"""Where something that takes long stands: what is done, of how much, and how much time is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item")

#: Before so much time and so large a part of the work, nothing is said of the rest.
LEAST_S, LEAST_PART = 3.0, 0.02
#: What is shorter shows nothing at all.
QUIET_S = 2.0


class TimeLeft:
    """Hears the start of every step, walk after walk.

    Args:
        efforts: step -> what it takes, in any unit.
        walks: how often all of them are walked through.
        clock: seconds.
    """

    def __init__(
        self, efforts: Mapping[str, float], walks: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._efforts, self._clock, self._started = efforts, clock, clock()
        self._total, self._done, self._running = walks * sum(efforts.values()), 0.0, 0.0

    def __call__(self, step: str) -> str:
        """What is to be added to a line about the step that starts now: nothing while that is only a guess."""
        self._done += self._running
        self._running = self._efforts.get(step, 0.0)
        return time_left(self._clock() - self._started, self._done / max(self._total, 1e-9))


def time_left(elapsed_s: float, part: float) -> str:
    """Words for the rest of what is done to this part; none while that is only a guess."""
    if elapsed_s < LEAST_S or part < LEAST_PART:
        return ""
    return f", about {elapsed_s * max(0.0, 1 - part) / part:.0f} s left"


class Line:
    """One line of standard error that rewrites itself on a terminal; elsewhere nothing is shown."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def show(self, name: str, text: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{name}: {text}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


class Steps:
    """Shows the step that starts now, its place among all of them, and the time left.

    Args:
        name: of the command.
        efforts: step -> what it usually takes, in any unit, in their order.
    """

    def __init__(self, name: str, efforts: Mapping[str, float]) -> None:
        self._name, self._line = name, Line()
        self._places = {step: place + 1 for place, step in enumerate(efforts)}
        self._left = TimeLeft(efforts, 1)

    def __call__(self, step: str) -> None:
        self._line.show(self._name, f"{self._places[step]}/{len(self._places)} {step}{self._left(step)}")

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *raised: object) -> None:
        self._line.clear()


def counted(items: Sequence[Item], name: str, what: str) -> Iterator[Item]:
    """The items one after the other; where they take long, a line says how many of them are done."""
    line, started = Line(), time.perf_counter()
    try:
        for done, item in enumerate(items):
            elapsed_s = time.perf_counter() - started
            if elapsed_s > QUIET_S:
                line.show(name, f"{done:,}/{len(items):,} {what}{time_left(elapsed_s, done / len(items))}")
            yield item
    finally:
        line.clear()
