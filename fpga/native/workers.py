"""Threads that take parts of steps from others, and stay awake for a moment when they have none."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

from .backend import choose
from .library import build_library, load_library

_SOURCE = Path(__file__).with_name("waiting.c")
#: How long who waits stays awake, as long as a step takes, and how long who has seen a task leaves it to who gave it to
#: come out of the interpreter, which one thread at a time can be in.
_AWAKE_NS, _SETTLING_NS = 100_000, 10_000

#: The work on the elements [first, end) of a step.
Part: TypeAlias = Callable[[int, int], None]
#: Waits for a word to be another one than a value, some nanoseconds at most and some more; it may also not wait at all.
_Waiting: TypeAlias = Callable[[ctypes.c_uint32, int, int, int], object]


class Task:
    """A part that another thread does."""

    def __init__(self, work: Part, first: int, end: int) -> None:
        self._work, self._bounds = work, (first, end)
        self._fault: BaseException | None = None
        self._ended, self._seen = threading.Lock(), ctypes.c_uint32(0)
        self._ended.acquire()

    def run(self) -> None:
        """Do the part; what it raises is kept."""
        try:
            self._work(*self._bounds)
        except BaseException as fault:  # it is the one's who waits
            self._fault = fault
        self._seen.value = 1
        self._ended.release()

    def wait(self) -> BaseException | None:
        """What the part raised, when it has ended."""
        _waiting()(self._seen, 0, _AWAKE_NS, 0)
        self._ended.acquire()
        return self._fault


class Workers:
    """Some threads, which end with the process or by `end`."""

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._given = ctypes.c_uint32(0)  # a hint to who is awake: the queue says what there is
        _waiting()
        self._threads = [threading.Thread(target=self._serve, name="kernels", daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def give(self, tasks: Sequence[Task | None]) -> None:
        """Let the tasks be done; None ends a thread."""
        for task in tasks:
            self._tasks.put(task)
        self._given.value += 1

    def end(self) -> None:
        """Return when all threads have ended."""
        self.give([None] * len(self._threads))
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            seen = self._given.value
            if self._tasks.empty():
                _waiting()(self._given, seen, _AWAKE_NS, _SETTLING_NS)
            task = self._tasks.get()
            if task is None:
                return
            task.run()
            del task  # what it works on may be freed


class _CompiledWaiting:
    """Awake, in C, where others may be in the interpreter meanwhile."""

    def __init__(self) -> None:
        signature = (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int64, ctypes.c_int64])
        self._library = load_library(build_library(_SOURCE), {"wait_awake": signature})

    def __call__(self, word: ctypes.c_uint32, value: int, longest_ns: int, settling_ns: int) -> bool:
        return bool(self._library.wait_awake(ctypes.addressof(word), value, longest_ns, settling_ns))


def _asleep(word: ctypes.c_uint32, value: int, longest_ns: int, settling_ns: int) -> None:
    """Not at all: the lock or the queue that comes next puts the thread to sleep."""


@functools.cache
def _waiting() -> _Waiting:
    compiled: Callable[[], _Waiting] = _CompiledWaiting
    return choose(compiled, lambda: _asleep, _sees_changes)


def _sees_changes(waiting: _Waiting) -> bool:
    """Whether a word that differs is seen, and one that does not is given up."""
    word = ctypes.c_uint32(7)
    return bool(waiting(word, 6, 1_000, 0)) and not waiting(word, 7, 1_000, 0)
