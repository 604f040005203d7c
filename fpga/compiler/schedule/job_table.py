"""All jobs of one image, and the columns of numbers, with who waits for whom, that are scheduled and bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise
from operator import attrgetter

import numpy as np

from .jobs import Job, Stage


@dataclass(frozen=True)
class Ranges:
    """A list of jobs per job: those of job i are items[first[i]:first[i + 1]]; int64."""

    first: np.ndarray
    items: np.ndarray

    @staticmethod
    def of(lists: Sequence[Sequence[int]]) -> Ranges:
        first = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(items) for items in lists], out=first[1:])
        return Ranges(first, np.fromiter(chain.from_iterable(lists), np.int64, int(first[-1])))

    def reversed(self) -> Ranges:
        """Per job those whose lists it is in, in order."""
        jobs = len(self.first) - 1
        owners = np.repeat(np.arange(jobs, dtype=np.int64), np.diff(self.first))
        first = np.zeros(jobs + 1, np.int64)
        np.cumsum(np.bincount(self.items, minlength=jobs), out=first[1:])
        return Ranges(first, owners[np.argsort(self.items, kind="stable")])

    def lists(self) -> list[list[int]]:
        items, edges = self.items.tolist(), self.first.tolist()
        return [items[begin:end] for begin, end in pairwise(edges)]


class JobTable:
    """The columns of some jobs, all int64 by job.

    Attributes:
        queue, duration, latency, allocates, weights, load, operation, tile, phase: of the job.
        product: number of the job's operation among those with weights, 0 for all others.
        dependencies, readers, releases: the jobs that it waits for, that wait for it, whose buffers it gives back.
        holders: stores that must be done before a load's buffer is free.
        weight_loads: the loads of weights, in program order.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.queue = _column(jobs, "queue")
        self.duration = _column(jobs, "duration")
        self.latency = _column(jobs, "latency")
        self.allocates = _column(jobs, "allocates")
        self.weights = _column(jobs, "weights")
        self.load = _column(jobs, "load")
        self.operation = _column(jobs, "operation")
        self.tile = _column(jobs, "tile")
        self.phase = _column(jobs, "phase")
        self.dependencies = Ranges.of([job.dependencies for job in jobs])
        self.readers = self.dependencies.reversed()
        self.releases = Ranges.of([job.releases for job in jobs])
        self.holders = np.bincount(self.releases.items, minlength=len(jobs)).astype(np.int64)
        self.weight_loads = np.flatnonzero(self.weights).astype(np.int64)
        products = np.unique(self.operation[self.weight_loads])
        place = np.minimum(np.searchsorted(products, self.operation), max(0, len(products) - 1))
        known = products[place] == self.operation if len(products) else np.zeros(len(jobs), bool)
        self.product = np.where(known, place, 0).astype(np.int64)

    def __len__(self) -> int:
        return len(self.queue)


@dataclass
class JobGraph:
    """All jobs of one image, in an order that respects dependencies, and the tiles that they work on.

    `reserve` bytes of buffer are never taken by weights, so that tiles can always go on.
    """

    reserve: int
    jobs: list[Job] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    @cached_property
    def table(self) -> JobTable:
        """The jobs as columns, once all of them are there."""
        return JobTable(self.jobs)


def _column(jobs: Sequence[Job], name: str) -> np.ndarray:
    return np.fromiter(map(attrgetter(name), jobs), np.int64, len(jobs))
