"""Threads of the compiled kernels: parts of one step at once. The results are the same bits for any number of them.

A step of a millisecond leaves no time for threads that sleep: each takes some 50 µs to wake, the one that gets a part
and the one that waits for its end. Both stay awake for a moment first (`workers`).
"""

from __future__ import annotations

import itertools
import os

from .workers import Part, Task, Workers


class _Threads:
    """The pool of this process: the thread that asks does its part itself."""

    def __init__(self) -> None:
        self.count = 1
        self.pool: Workers | None = None


_threads = _Threads()


def use_threads(count: int) -> None:
    """Let every step be done by so many threads; 1 before this is called.

    Raises:
        ValueError: fewer than one.
    """
    if count < 1:
        raise ValueError(f"a step is done by one thread or more, not by {count}")
    before, _threads.count = _threads.pool, count
    _start_pool()
    if before is not None:
        before.end()


def _start_pool() -> None:
    _threads.pool = Workers(_threads.count - 1) if _threads.count > 1 else None


# Threads do not follow into a forked process, which would wait for them forever.
os.register_at_fork(after_in_child=_start_pool)


def thread_count() -> int:
    """How many threads do a step."""
    return _threads.count


def available_cores(sharers: int = 1) -> int:
    """The cores that this process may use, where so many processes share them."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, own // sharers)


def run_parts(work: Part, size: int, step: int = 1) -> None:
    """Do the work on [0, size) in parts that begin at multiples of `step`; returns when all are done.

    What a part raises is raised here, after the others have ended.
    """
    pool, steps = _threads.pool, -(-size // step)
    parts = min(_threads.count, steps)
    if pool is None or parts < 2:
        work(0, size)
        return
    bounds = [min(size, steps * part // parts * step) for part in range(parts + 1)]
    others = [Task(work, first, end) for first, end in itertools.pairwise(bounds[1:])]
    pool.give(others)
    try:
        work(bounds[0], bounds[1])
    finally:
        faults = [other.wait() for other in others]
    for fault in faults:
        if fault is not None:
            raise fault
