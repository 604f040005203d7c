"""List scheduling of tile jobs on the accelerator's queues, and the bounds that no schedule can beat.

Both parties run the same schedule in lock step, so one timeline describes both: `send` is what party 0 sends. A job
starts as soon as its queue is free, its inputs are there and, for a load, its buffer fits; among the jobs that are
ready, the one with the longest way to the end goes first.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..devices import Device
from ..isa import QUEUE_OPCODE, WAITS, Instruction, Opcode, Queue
from ..program import Program
from ..protocols.base import Protocol
from .bounds import distances_to_end, lower_bounds
from .tiling import Job, JobGraph, Stage, build_jobs, tile_reserve

#: Tiles per operation that are tried; the shortest schedule is kept.
TILE_CHOICES = (8, 16)
#: More jobs than this are scheduled once: they overlap well enough, and trying takes long.
LARGE_JOBS = 60_000
DEFAULT_URGENCY = "tile"
#: How far ahead weights are fetched, in convolutions and linear layers.
PREFETCHED_PRODUCTS = 2


@dataclass(frozen=True)
class Schedule:
    """Start cycle of every job, and the on-chip address of every tile's buffer.

    Attributes:
        jobs: in program order; dependencies are indices into it.
        starts, addresses: by job.
        makespan: cycles until everything is done.
        busy: cycles that each queue works.
        tiles: tiles per operation that were asked for.
        stages: regions of the tiles.
    """

    jobs: Sequence[Job]
    starts: Sequence[int]
    addresses: Sequence[int]
    makespan: int
    busy: dict[Queue, int]
    tiles: int
    stages: Sequence[Stage]

    @cached_property
    def bounds(self) -> dict[str, int]:
        """Cycles that no schedule of these jobs can undercut, by reason."""
        return lower_bounds(self.jobs)

    @property
    def lower_bound(self) -> int:
        """No schedule of these jobs is shorter."""
        return max(self.bounds.values(), default=0)

    def end(self, job: int) -> int:
        return self.starts[job] + self.jobs[job].duration + self.jobs[job].latency


def schedule_program(
    program: Program, device: Device, protocol: Protocol, tile_choices: Sequence[int] = TILE_CHOICES
) -> Schedule:
    """The shortest list schedule over the tilings and urgencies that are tried; large programs get one try."""
    best: Schedule | None = None
    for tiles in tile_choices:
        graph = build_jobs(program, device, protocol, tiles)
        large = len(graph.jobs) > LARGE_JOBS
        if best is not None and large:
            break
        for rule in (DEFAULT_URGENCY,) if large else URGENCIES:
            schedule = list_schedule(graph, device, tiles, rule)
            if best is None or schedule.makespan < best.makespan:
                best = schedule
    if best is None:
        raise ValueError("no number of tiles to try")
    return best


def list_schedule(graph: JobGraph, device: Device, tiles: int = 0, rule: str = "distance") -> Schedule:
    """Schedule all jobs greedily, the most urgent first by one of the `URGENCIES`."""
    jobs = graph.jobs
    starts, addresses = _ListScheduler(jobs, URGENCIES[rule](jobs), device).run()
    busy = dict.fromkeys(Queue, 0)
    for job in jobs:
        busy[job.queue] += job.duration
    makespan = max((starts[i] + job.duration + job.latency for i, job in enumerate(jobs)), default=0)
    return Schedule(jobs, starts, addresses, makespan, busy, tiles, graph.stages)


def _tile_after_tile(jobs: Sequence[Job]) -> list[int]:
    """Operations in order, and within one a tile to its end before the next: tiles move on while others begin."""
    return [-((job.operation << 32) + (job.tile << 16) + job.phase) for job in jobs]


#: Rules of which job goes first. None is best for every network, and trying another is cheap.
URGENCIES: dict[str, Callable[[Sequence[Job]], list[int]]] = {
    "distance": distances_to_end,
    "tile": _tile_after_tile,
}


class _ListScheduler:
    """The state of one list scheduling run: what is ready, what is free, what time it is.

    Weights are fetched in program order, at most `PREFETCHED_PRODUCTS` products ahead of the one that is computed, and
    never into the part of the buffer that is reserved for tiles; a tile is loaded only after its weights. So buffers
    are never held in a circle.
    """

    def __init__(self, jobs: Sequence[Job], urgency: Sequence[int], device: Device) -> None:
        self.jobs, self.urgency = jobs, urgency
        self.missing = [len(job.dependencies) for job in jobs]
        self.readers: list[list[int]] = [[] for _ in jobs]
        self.holders = [0] * len(jobs)
        for index, job in enumerate(jobs):
            for before in job.dependencies:
                self.readers[before].append(index)
            for load in job.releases:
                self.holders[load] += 1
        self.buffers = _Buffers(device.buffer_bytes, tile_reserve(device))
        self.starts, self.addresses = [0] * len(jobs), [0] * len(jobs)
        self.ready: dict[Queue, list[tuple[int, int]]] = {queue: [] for queue in Queue}
        self.weights = deque(index for index, job in enumerate(jobs) if job.weights)
        products = sorted({job.operation for job in jobs if job.weights})
        self.product = {operation: number for number, operation in enumerate(products)}
        self.computing = 0
        self.free_at = dict.fromkeys(Queue, 0)
        self.events: list[tuple[int, int, bool]] = []  # cycle, job, whether its result is there (or its queue free)

    def run(self) -> tuple[list[int], list[int]]:
        """Start cycle and buffer address of every job."""
        for index, count in enumerate(self.missing):
            if not count and not self.jobs[index].weights:
                self._make_ready(index)
        now, done = 0, 0
        while done < len(self.jobs):
            self._start_all(now)
            if not self.events:
                raise RuntimeError("the schedule is stuck: no job can start")
            now = self.events[0][0]
            while self.events and self.events[0][0] == now:
                _, index, finished = heapq.heappop(self.events)
                if finished:
                    done += 1
                    self._finish(index)
        return self.starts, self.addresses

    def _make_ready(self, index: int) -> None:
        heapq.heappush(self.ready[self.jobs[index].queue], (-self.urgency[index], index))

    def _start_all(self, now: int) -> None:
        for queue in Queue:
            while self.free_at[queue] <= now:
                index = self._next_load() if queue is Queue.LOAD else self._next(queue)
                if index is None:
                    break
                job = self.jobs[index]
                if not job.allocates:
                    self.addresses[index] = self.addresses[job.load]
                self.starts[index], self.free_at[queue] = now, now + job.duration
                heapq.heappush(self.events, (now + job.duration, index, not job.latency))
                if job.latency:
                    heapq.heappush(self.events, (now + job.duration + job.latency, index, True))

    def _next(self, queue: Queue) -> int | None:
        return heapq.heappop(self.ready[queue])[1] if self.ready[queue] else None

    def _next_load(self) -> int | None:
        """The next tile or the next weights, whichever is more urgent among those whose buffer fits."""
        candidates = []
        if self.ready[Queue.LOAD]:
            candidates.append((self.ready[Queue.LOAD][0], False))
        if self.weights:
            index = self.weights[0]
            if self.product[self.jobs[index].operation] <= self.computing + PREFETCHED_PRODUCTS:
                candidates.append(((-self.urgency[index], index), True))
        for (_, index), weights in sorted(candidates):
            address = self.buffers.allocate(self.jobs[index].allocates, weights)
            if address is not None:
                self.addresses[index] = address
                if weights:
                    self.weights.popleft()
                else:
                    heapq.heappop(self.ready[Queue.LOAD])
                    self.computing = max(self.computing, self.product.get(self.jobs[index].operation, 0))
                return index
        return None

    def _finish(self, index: int) -> None:
        for load in self.jobs[index].releases:
            self.holders[load] -= 1
            if not self.holders[load]:
                self.buffers.release(self.addresses[load], self.jobs[load].allocates)
        for reader in self.readers[index]:
            self.missing[reader] -= 1
            if not self.missing[reader]:
                self._make_ready(reader)


class _Buffers:
    """The on-chip buffer: tiles from below, weights from above and never into the `reserve` that tiles can count on."""

    def __init__(self, size: int, reserve: int) -> None:
        self.free = [(0, size)]
        self.reserve = reserve

    def allocate(self, size: int, weights: bool) -> int | None:
        if weights:
            return self._allocate_high(size)
        for position, (start, length) in enumerate(self.free):
            if length >= size:
                self.free[position : position + 1] = [(start + size, length - size)] if length > size else []
                return start
        return None

    def _allocate_high(self, size: int) -> int | None:
        for position in range(len(self.free) - 1, -1, -1):
            start, length = self.free[position]
            begin = start + length - size
            if begin >= max(start, self.reserve):
                self.free[position : position + 1] = [(start, begin - start)] if begin > start else []
                return begin
        return None

    def release(self, start: int, size: int) -> None:
        merged: list[tuple[int, int]] = []
        for begin, length in sorted([*self.free, (start, size)]):
            if merged and merged[-1][0] + merged[-1][1] == begin:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((begin, length))
        self.free = merged


def schedule_instructions(schedule: Schedule) -> list[Instruction]:
    """The schedule as instructions, each queue in its order, with the waits that dependencies and buffers need.

    A wait that other waits already imply is left out; where more remain than an instruction holds, WAIT instructions
    carry them.
    """
    order = sorted(range(len(schedule.jobs)), key=lambda i: (schedule.starts[i], i))
    waits_for = [set(job.dependencies) for job in schedule.jobs]
    _add_buffer_waits(schedule, order, waits_for)
    issued = dict.fromkeys(Queue, 0)
    ticket: dict[int, tuple[Queue, int]] = {}
    clock: dict[int, dict[Queue, int]] = {}
    known: dict[Queue, dict[Queue, int]] = {queue: dict.fromkeys(Queue, 0) for queue in Queue}
    instructions: list[Instruction] = []
    for index in order:
        job = schedule.jobs[index]
        have = known[job.queue]
        needed: list[tuple[Queue, int]] = []
        for before in sorted(waits_for[index], key=lambda i: (-schedule.end(i), i)):
            queue, count = ticket[before]
            if (queue is job.queue and not schedule.jobs[before].latency) or have[queue] >= count:
                continue
            needed.append((queue, count))
            for other, reached in clock[before].items():
                have[other] = max(have[other], reached)
        while len(needed) > WAITS:
            instructions.append(
                Instruction(Opcode.WAIT, job.queue, job.operation, job.tile, job.phase, tuple(needed[:WAITS]))
            )
            issued[job.queue] += 1
            needed = needed[WAITS:]
        issued[job.queue] += 1
        ticket[index] = (job.queue, issued[job.queue])
        clock[index] = {**have, job.queue: issued[job.queue]}
        if not job.latency:
            # an in-order queue without latency has completed what it issued before
            have[job.queue] = issued[job.queue]
        instructions.append(
            Instruction(
                Opcode.LOAD_WEIGHTS if job.weights else QUEUE_OPCODE[job.queue],
                job.queue,
                job.operation,
                job.tile,
                job.phase,
                tuple(needed),
                job.amount,
                schedule.addresses[index],
                job.count,
            )
        )
    return instructions


def _add_buffer_waits(schedule: Schedule, order: Sequence[int], waits_for: list[set[int]]) -> None:
    """A load must wait for the stores of the tiles whose buffer bytes it takes over."""
    stores: dict[int, list[int]] = {}
    for index, job in enumerate(schedule.jobs):
        for load in job.releases:
            stores.setdefault(load, []).append(index)
    owners: list[tuple[int, int, int]] = []  # start, end, load of the last tile that held these bytes
    for index in order:
        size = schedule.jobs[index].allocates
        if not size:
            continue
        begin, end = schedule.addresses[index], schedule.addresses[index] + size
        kept = []
        for start, stop, load in owners:
            if start < end and begin < stop:
                waits_for[index].update(stores[load])
                kept += [(a, b, load) for a, b in ((start, min(stop, begin)), (max(start, end), stop)) if a < b]
            else:
                kept.append((start, stop, load))
        owners = [*kept, (begin, end, index)]
