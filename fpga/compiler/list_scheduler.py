"""List scheduling of jobs on the accelerator's queues: forwards with buffers, backwards for the next try's urgencies.

A job starts as soon as its queue is free, its inputs are there and, for a load, its buffer fits; of the jobs that are
ready, the most urgent goes first. Scheduling the same jobs backwards from the end, those that end last first, tells how
late each may start; taken as urgencies these make the next forward schedule shorter (forward-backward improvement:
Li and Willis, 1992; Tormos and Lova, 2001).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from ..devices import Device
from ..isa import Queue
from .buffers import OnChipBuffer
from .jobs import JobGraph

#: How far ahead weights are fetched, in convolutions and linear layers.
PREFETCHED_PRODUCTS = 4
LOAD = int(Queue.LOAD)


class ListScheduler:
    """Schedules one graph of jobs, as often as wanted.

    Weights are fetched in program order, at most `PREFETCHED_PRODUCTS` products ahead of the one that is computed, and
    never into the part of the buffer that is reserved for tiles; a tile is loaded only after its weights. So buffers
    are never held in a circle.
    """

    def __init__(self, graph: JobGraph, device: Device) -> None:
        jobs = self.jobs = graph.jobs
        self.reserve, self.device = graph.reserve, device
        self.queue = [int(job.queue) for job in jobs]
        self.missing = [len(job.dependencies) for job in jobs]
        self.readers: list[list[int]] = [[] for _ in jobs]
        self.holders = [0] * len(jobs)
        for index, job in enumerate(jobs):
            for before in job.dependencies:
                self.readers[before].append(index)
            for load in job.releases:
                self.holders[load] += 1
        self.weights = [index for index, job in enumerate(jobs) if job.weights]
        products = sorted({jobs[index].operation for index in self.weights})
        self.product = {operation: number for number, operation in enumerate(products)}

    def forward(self, order: Sequence[int]) -> tuple[list[int], list[int]]:
        """Start cycle and buffer address of every job; of those that are ready, the one of the least `order` first."""
        return _Forward(self, order).run()

    def latest_starts(self, ends: Sequence[int]) -> list[int]:
        """How late each job may start, in cycles before the end and negative, by a schedule from the end.

        Jobs are taken in the reverse of `ends`, the cycles at which a schedule ends them; buffers are not counted.
        """
        jobs, queue_of = self.jobs, self.queue
        missing = [len(readers) for readers in self.readers]
        ready: list[list[tuple[int, int]]] = [[] for _ in Queue]
        free_at = [0] * len(Queue)
        available, start = [0] * len(jobs), [0] * len(jobs)
        events = [(jobs[index].latency, False, index) for index, count in enumerate(missing) if not count]
        heapq.heapify(events)
        while events:
            now = events[0][0]
            touched = set()
            while events and events[0][0] == now:
                _, ended, index = heapq.heappop(events)
                touched.add(queue_of[index])
                if not ended:
                    heapq.heappush(ready[queue_of[index]], (-ends[index], index))
            for queue in touched:
                while ready[queue] and free_at[queue] <= now:
                    index = heapq.heappop(ready[queue])[1]
                    reached = free_at[queue] = now + jobs[index].duration
                    start[index] = -reached
                    heapq.heappush(events, (reached, True, index))
                    for before in jobs[index].dependencies:
                        missing[before] -= 1
                        available[before] = max(available[before], reached)
                        if not missing[before]:
                            heapq.heappush(events, (available[before] + jobs[before].latency, False, before))
        return start


class _Forward:
    """The state of one forward run: what is ready, what is free, what time it is."""

    def __init__(self, scheduler: ListScheduler, order: Sequence[int]) -> None:
        self.scheduler, self.jobs, self.order = scheduler, scheduler.jobs, order
        self.missing, self.holders = list(scheduler.missing), list(scheduler.holders)
        self.buffer = OnChipBuffer(scheduler.device.buffer_bytes, scheduler.reserve)
        self.starts, self.addresses = [0] * len(self.jobs), [0] * len(self.jobs)
        self.ready: list[list[tuple[int, int]]] = [[] for _ in Queue]
        self.next_weights = self.computing = 0
        #: Nothing about loads has changed since none could start.
        self.loads_blocked = False

    def run(self) -> tuple[list[int], list[int]]:
        jobs, queue_of, starts = self.jobs, self.scheduler.queue, self.starts
        free_at, ready = [0] * len(Queue), self.ready
        events: list[tuple[int, int, bool]] = []  # cycle, job, whether its result is there (or only its queue free)
        for index, count in enumerate(self.missing):
            if not count and not jobs[index].weights:
                heapq.heappush(ready[queue_of[index]], (self.order[index], index))
        now, done, touched = 0, 0, set(range(len(Queue)))
        while done < len(jobs):
            touched.add(LOAD)
            for queue in touched:
                while free_at[queue] <= now:
                    if queue == LOAD:
                        index = self._next_load()
                    else:
                        index = heapq.heappop(ready[queue])[1] if ready[queue] else -1
                    if index < 0:
                        break
                    job = jobs[index]
                    if not job.allocates:
                        self.addresses[index] = self.addresses[job.load]
                    starts[index], free_at[queue] = now, now + job.duration
                    heapq.heappush(events, (free_at[queue], index, not job.latency))
                    if job.latency:
                        heapq.heappush(events, (free_at[queue] + job.latency, index, True))
            if not events:
                raise RuntimeError("the schedule is stuck: no job can start")
            now, touched = events[0][0], set()
            while events and events[0][0] == now:
                _, index, finished = heapq.heappop(events)
                touched.add(queue_of[index])
                if finished:
                    done += 1
                    self._finish(index, touched)
        return starts, self.addresses

    def _next_load(self) -> int:
        """The next tile or the next weights, whichever is more urgent among those whose buffer fits; -1: none."""
        if self.loads_blocked:
            return -1
        scheduler, ready = self.scheduler, self.ready[LOAD]
        candidates = []
        if ready:
            candidates.append((*ready[0], False))
        if self.next_weights < len(scheduler.weights):
            index = scheduler.weights[self.next_weights]
            if scheduler.product[self.jobs[index].operation] <= self.computing + PREFETCHED_PRODUCTS:
                candidates.append((self.order[index], index, True))
        for _, index, weights in sorted(candidates):
            address = self.buffer.allocate(self.jobs[index].allocates, weights)
            if address is not None:
                self.addresses[index] = address
                if weights:
                    self.next_weights += 1
                else:
                    heapq.heappop(ready)
                    self.computing = max(self.computing, scheduler.product.get(self.jobs[index].operation, 0))
                return index
        self.loads_blocked = True
        return -1

    def _finish(self, index: int, touched: set[int]) -> None:
        job, queue_of = self.jobs[index], self.scheduler.queue
        for load in job.releases:
            self.holders[load] -= 1
            if not self.holders[load]:
                self.buffer.release(self.addresses[load], self.jobs[load].allocates)
                self.loads_blocked = False
        for reader in self.scheduler.readers[index]:
            self.missing[reader] -= 1
            if not self.missing[reader]:
                queue = queue_of[reader]
                touched.add(queue)
                heapq.heappush(self.ready[queue], (self.order[reader], reader))
                if queue == LOAD:
                    self.loads_blocked = False
