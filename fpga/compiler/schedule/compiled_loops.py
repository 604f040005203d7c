"""The loops of list scheduling and bounds in C, compiled at first use; without a compiler Python does the same, slowly.

The backend is chosen as for all kernels (`native/backend.py`); the portable form is the loops in list_scheduler.py and
bounds.py.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ...native.backend import choose
from ...native.library import build_library, load_library
from ...program.isa import Queue
from .job_table import JobTable
from .jobs import Job

_SOURCE = Path(__file__).with_name("kernels") / "schedule_kernels.c"
_OPTIONS = ("-O3", "-fPIC", "-shared")
_WORD, _POINTER, _STATUS = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int
_COLUMNS = ("queue", "duration", "latency", "allocates", "weights", "load", "product")
_RANGES = ("dependencies", "readers", "releases")
_NO_MEMORY = 1
_CACHE_LINE = 64


class _Graph(ctypes.Structure):
    _fields_ = [
        ("jobs", _WORD),
        *((name, _POINTER) for name in _COLUMNS),
        *((f"{part}_{name}", _POINTER) for name in _RANGES for part in ("first", "items")),
        ("holders", _POINTER),
    ]


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "packed_bytes": (ctypes.c_size_t, [_POINTER]),
    "pack_jobs": (None, [_POINTER] * 2),
    "schedule_forward": (_STATUS, [*[_POINTER] * 4, *[_WORD] * 4, _POINTER, _POINTER]),
    "schedule_backward": (_STATUS, [_POINTER] * 4),
    "queue_bounds": (_STATUS, [_POINTER] * 2),
    "joins_bound": (_STATUS, [_POINTER, _POINTER, _WORD, _POINTER, *[_WORD] * 3, _POINTER, _POINTER]),
}


class CompiledLoops:
    """`forward`, `backward`, `queues` and `joins` as in list_scheduler.py and bounds.py, cycle for cycle."""

    def __init__(self) -> None:
        self._library = load_library(build_library(_SOURCE, _OPTIONS), _SIGNATURES)
        self._packed: WeakKeyDictionary[JobTable, np.ndarray] = WeakKeyDictionary()

    def forward(
        self, table: JobTable, order: np.ndarray, buffer_bytes: int, reserve: int, prefetched: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Start cycle and buffer address of every job; `order` int64 by job, the least first."""
        order = np.ascontiguousarray(order, np.int64)
        starts, addresses = np.empty(len(table), np.int64), np.empty(len(table), np.int64)
        status = self._library.schedule_forward(
            ctypes.byref(_graph(table)),
            self._pack(table).ctypes.data,
            order.ctypes.data,
            table.weight_loads.ctypes.data,
            len(table.weight_loads),
            prefetched,
            buffer_bytes,
            reserve,
            starts.ctypes.data,
            addresses.ctypes.data,
        )
        _check(status)
        return starts, addresses

    def backward(self, table: JobTable, ends: np.ndarray) -> np.ndarray:
        """How late each job may start, in cycles before the end and negative."""
        ends, starts = np.ascontiguousarray(ends, np.int64), np.empty(len(table), np.int64)
        graph, packed = ctypes.byref(_graph(table)), self._pack(table).ctypes.data
        _check(self._library.schedule_backward(graph, packed, ends.ctypes.data, starts.ctypes.data))
        return starts

    def _pack(self, table: JobTable) -> np.ndarray:
        """The table as list schedules read it, from the begin of a line of the cache; made once."""
        packed = self._packed.get(table)
        if packed is None:
            graph = _graph(table)
            memory = np.empty(self._library.packed_bytes(ctypes.byref(graph)) + _CACHE_LINE, np.uint8)
            packed = self._packed[table] = memory[-memory.ctypes.data % _CACHE_LINE :]
            self._library.pack_jobs(ctypes.byref(graph), packed.ctypes.data)
        return packed

    def queues(self, table: JobTable) -> list[int]:
        """The one-machine bound of every queue, then the critical path; cycles."""
        bounds = np.empty(len(Queue) + 1, np.int64)
        _check(self._library.queue_bounds(ctypes.byref(_graph(table)), bounds.ctypes.data))
        return bounds.tolist()

    def joins(self, table: JobTable, join: np.ndarray, limit: int, buffer_cycles: int) -> int:
        """The end of the last job by heads that grow at joins; `join` numbers the sets of tiles, -1: none."""
        join, heads, bound = np.ascontiguousarray(join, np.int64), np.empty(len(table), np.int64), _WORD()
        status = self._library.joins_bound(
            ctypes.byref(_graph(table)),
            table.operation.ctypes.data,
            int(table.operation.max(initial=-1)) + 1,
            join.ctypes.data,
            int(join.max(initial=-1)) + 1,
            limit,
            buffer_cycles,
            heads.ctypes.data,
            ctypes.byref(bound),
        )
        _check(status)
        return bound.value


@functools.cache
def compiled_loops() -> CompiledLoops | None:
    """The loops in C where they are wanted, can be built and pass their self-test."""
    return choose(CompiledLoops, lambda: None, _schedules_a_chain)


def _schedules_a_chain(loops: CompiledLoops | None) -> bool:
    """Whether a load, the product on it and the store that frees its buffer follow each other, in both directions."""
    if loops is None:
        return False
    chain = (
        Job(Queue.LOAD, 3, 2, 64, 0, 0, 0, 1, (), allocates=64),
        Job(Queue.ARRAY, 5, 0, 1, 0, 0, 1, 1, (0,)),
        Job(Queue.STORE, 4, 1, 64, 0, 0, 2, 1, (1,), releases=(0,)),
    )
    table = JobTable(chain)
    starts, addresses = loops.forward(table, np.arange(3), 256, 0, 4)
    latest = loops.backward(table, starts + table.duration)
    return starts.tolist() == [0, 5, 10] and addresses.tolist()[0] == 0 and latest.tolist() == [-15, -10, -5]


def _graph(table: JobTable) -> _Graph:
    columns = [getattr(table, name).ctypes.data for name in _COLUMNS]
    ranges = [getattr(getattr(table, name), part).ctypes.data for name in _RANGES for part in ("first", "items")]
    return _Graph(len(table), *columns, *ranges, table.holders.ctypes.data)


def _check(status: int) -> None:
    if status == _NO_MEMORY:
        raise MemoryError("not enough memory for a schedule")
    if status:
        raise RuntimeError("the schedule is stuck: no job can start")
