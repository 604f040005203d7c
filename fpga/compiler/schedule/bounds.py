"""What no schedule of the same jobs on the same device can undercut.

`critical path` is the longest chain of dependent jobs. The bound of a queue is that of one machine with heads and
tails: a job cannot start before its head, the longest chain that leads to it, and after it its tail must follow.
Jackson's preemptive rule (the longest tail first) solves that machine exactly, so the bound holds for every schedule.

Neither sees that work adds up layer by layer: where a tile needs all tiles of the layer before, the queues must have
done all of their work for it. `joins` is the critical path with that in mind: the head of a job that waits for many
others is at least the one-machine bound, over every queue, of all jobs that lead to it, and later heads build on it.

`joins` also counts the buffer. Weights stay on the chip from their load until the last tile that uses them is stored.
So at the time h at which the first tile of a product can be stored at the earliest, of all the weights of this and
later products at most the buffer's size can have been loaded; the others are loaded after h, one after the other.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np

from ...devices import Device
from ...program.isa import Queue
from .compiled_loops import compiled_loops
from .job_table import JobGraph, JobTable
from .jobs import Job, Rates

#: A job that waits for so many others is a join; narrower joins add less. The first width with few enough of them.
JOIN_WIDTHS = (4, 8, 16)
#: Jobs that are looked at for all joins together, the nearest to each: fewer make the bound lower, never wrong.
JOIN_BUDGET = 8_000_000


def lower_bounds(graph: JobGraph, device: Device) -> dict[str, int]:
    """Cycles by reason: the critical path, every queue, and joins."""
    jobs, table, loops = graph.jobs, graph.table, compiled_loops()
    *queues, critical = queue_bounds(jobs) if loops is None else loops.queues(table)
    names = (queue.name.lower() for queue in Queue)
    return {"critical path": critical} | dict(zip(names, queues)) | {"joins": joins_bound(jobs, device, table)}


def queue_bounds(jobs: Sequence[Job]) -> list[int]:
    """The one-machine bound of every queue, then the critical path, without C."""
    tails, heads = distances_to_end(jobs), distances_from_start(jobs)
    machines: list[list[tuple[int, int, int]]] = [[] for _ in Queue]
    for job, head, tail in zip(jobs, heads, tails, strict=True):
        machines[job.queue].append((head, job.duration, tail - job.duration))
    return [*map(one_machine_bound, machines), max(tails, default=0)]


def distances_to_end(jobs: Sequence[Job]) -> list[int]:
    """Cycles from the start of each job to the end of the longest chain that begins with it."""
    distance = [0] * len(jobs)
    for index in range(len(jobs) - 1, -1, -1):
        job = jobs[index]
        distance[index] += job.duration + job.latency
        for before in job.dependencies:
            distance[before] = max(distance[before], distance[index])
    return distance


def distances_from_start(jobs: Sequence[Job]) -> list[int]:
    """Earliest start of each job if every queue were free."""
    earliest: list[int] = []
    for job in jobs:
        arrivals = (earliest[i] + jobs[i].duration + jobs[i].latency for i in job.dependencies)
        earliest.append(max(arrivals, default=0))
    return earliest


def one_machine_bound(machine: Iterable[tuple[int, int, int]]) -> int:
    """Shortest preemptive schedule of one machine; jobs are (head, duration, tail)."""
    waiting: list[tuple[int, int]] = []  # -tail, rest of the duration
    now = bound = 0
    for head, duration, tail in sorted(machine):
        while waiting and now < head:
            urgency, rest = waiting[0]
            if now + rest > head:
                heapq.heapreplace(waiting, (urgency, rest - (head - now)))
                break
            heapq.heappop(waiting)
            now += rest
            bound = max(bound, now - urgency)
        now = max(now, head)
        heapq.heappush(waiting, (-tail, duration))
    for urgency, rest in sorted(waiting):
        now += rest
        bound = max(bound, now - urgency)
    return bound


def joins_bound(jobs: Sequence[Job], device: Device, table: JobTable) -> int:
    """The end of the last job by heads that grow at joins; `table` is that of the jobs."""
    if not jobs:
        return 0
    for width in JOIN_WIDTHS:
        joins = _numbered_joins(jobs, table, width)
        limit = JOIN_BUDGET // max(1, max(joins) + 1)
        if limit >= len(jobs):
            break
    buffer_cycles = -int(-device.buffer_bytes // Rates.of(device).load_bytes_per_cycle)
    loops = compiled_loops()
    if loops is not None:
        return loops.joins(table, np.array(joins, np.int64), limit, buffer_cycles)
    return joins_in_python(jobs, joins, limit, buffer_cycles)


def joins_in_python(jobs: Sequence[Job], joins: Sequence[int], limit: int, buffer_cycles: int) -> int:
    """`joins_bound` without C."""
    heads = _Heads(jobs, buffer_cycles)
    has_readers = [False] * len(jobs)
    for index, job in enumerate(jobs):
        heads.add(index, joins[index], limit)
        for before in job.dependencies:
            has_readers[before] = True
    ends = tuple(index for index, read in enumerate(has_readers) if not read)
    return heads.all_done(ends, len(jobs))


def _numbered_joins(jobs: Sequence[Job], table: JobTable, width: int) -> list[int]:
    """Per job the number of the set of tiles that it waits for, where these are at least `width`; else -1."""
    numbers: dict[tuple[int, ...], int] = {}
    joins = [-1] * len(jobs)
    wide = np.diff(table.dependencies.first) >= width
    for index in np.flatnonzero(wide & (table.queue == Queue.LOAD)).tolist():
        tiles = _tiles(jobs, jobs[index])
        if len(tiles) >= width:
            joins[index] = numbers.setdefault(tiles, len(numbers))
    return joins


def _tiles(jobs: Sequence[Job], job: Job) -> tuple[int, ...]:
    """What a job waits for, without its weights."""
    return tuple(before for before in job.dependencies if not jobs[before].weights)


class _Heads:
    """Lower bounds of start cycles, job by job."""

    def __init__(self, jobs: Sequence[Job], buffer_cycles: int) -> None:
        self.jobs, self.buffer_cycles = jobs, buffer_cycles
        self.heads: list[int] = []
        self.first_release: dict[int, int] = {}  # operation -> cycle before which its weights stay on the chip
        self.bounded: dict[int, int] = {}

    def add(self, index: int, join: int, limit: int) -> None:
        """Bound the next job in the order of the list."""
        job = self.jobs[index]
        head = 0
        for before in job.dependencies:
            earlier = self.jobs[before]
            head = max(head, self.heads[before] + earlier.duration + earlier.latency)
        if join >= 0:
            if join not in self.bounded:
                self.bounded[join] = self.all_done(_tiles(self.jobs, job), limit)
            head = max(head, self.bounded[join])
        self.heads.append(head)
        if any(self.jobs[load].weights for load in job.releases):
            released = head + job.duration
            self.first_release[job.operation] = min(released, self.first_release.get(job.operation, released))

    def all_done(self, last: tuple[int, ...], limit: int) -> int:
        """A cycle before which not all of the jobs `last` can be done, from at most `limit` jobs that lead to them."""
        jobs, heads = self.jobs, self.heads
        tails = dict.fromkeys(last, 0)
        waiting = [-index for index in tails]
        heapq.heapify(waiting)
        machines: list[list[tuple[int, int, int]]] = [[] for _ in Queue]
        weights: list[tuple[int, int, int]] = []  # first release, tail, duration
        taken = bound = 0
        while waiting and taken < limit:
            index = -heapq.heappop(waiting)
            job, head = jobs[index], heads[index]
            tail = tails[index] + job.latency
            taken += 1
            machines[job.queue].append((head, job.duration, tail))
            if job.weights:
                weights.append((self.first_release[job.operation], tail, job.duration))
            tail += job.duration
            if head + tail > bound:
                bound = head + tail
            for before in job.dependencies:
                known = tails.get(before, -1)
                if known < 0:
                    heapq.heappush(waiting, -before)
                if known < tail:
                    tails[before] = tail
        bounds = (one_machine_bound(machine) for machine in machines if machine)
        return max(bound, self._weights_bound(weights, machines[Queue.LOAD]), *bounds)

    def _weights_bound(self, weights: list[tuple[int, int, int]], loads: list[tuple[int, int, int]]) -> int:
        """All loads that must come after h = some first release, less a buffer full of weights, then the least tail."""
        bound = 0
        for release in {release for release, _, _ in weights}:
            later = [(tail, duration, 1) for first, tail, duration in weights if first >= release]
            later += [(tail, duration, 0) for head, duration, tail in loads if head >= release]
            total = -self.buffer_cycles
            for tail, duration, rounding in sorted(later, reverse=True):
                total += duration - rounding  # durations are rounded up to whole cycles
                if total > 0:
                    bound = max(bound, release + total + tail)
        return bound
