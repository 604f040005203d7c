"""List scheduling of jobs on the accelerator's queues: forwards with buffers, backwards for the next try's urgencies.

A job starts as soon as its queue is free, its inputs are there and, for a load, its buffer fits; of the jobs that are
ready, the most urgent goes first. Scheduling the same jobs backwards from the end, those that end last first, tells how
late each may start; taken as urgencies these make the next forward schedule shorter (forward-backward improvement:
Li and Willis, 1992; Tormos and Lova, 2001).

The loops are here in Python, which says what they mean, and in `kernels/list_schedules.h`, which does the same in a
fiftieth of the time.
"""

from __future__ import annotations

import heapq

import numpy as np

from ...devices import Device
from ...program.isa import Queue
from .buffers import OnChipBuffer
from .compiled_loops import compiled_loops
from .job_table import JobGraph, JobTable

#: How far ahead weights are fetched, in convolutions and linear layers.
PREFETCHED_PRODUCTS = 4
LOAD = int(Queue.LOAD)


class ListScheduler:
    """Schedules one graph of jobs, as often as wanted; `jobs_scheduled` adds up how many that were.

    Weights are fetched in program order, at most `PREFETCHED_PRODUCTS` products ahead of the one that is computed, and
    never into the part of the buffer that is reserved for tiles; a tile is loaded only after its weights. So buffers
    are never held in a circle.
    """

    def __init__(self, graph: JobGraph, device: Device) -> None:
        self.graph, self.device, self.table = graph, device, graph.table
        self.jobs_scheduled = 0

    def forward(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start cycle and buffer address of every job; of those that are ready, the one of the least `order` first."""
        loops = compiled_loops()
        self.jobs_scheduled += len(self.table)
        if loops is not None:
            return loops.forward(self.table, order, self.device.buffer_bytes, self.graph.reserve, PREFETCHED_PRODUCTS)
        starts, addresses = Forward(self.table, order, self.device.buffer_bytes, self.graph.reserve).run()
        return np.array(starts, np.int64), np.array(addresses, np.int64)

    def latest_starts(self, ends: np.ndarray) -> np.ndarray:
        """How late each job may start, in cycles before the end and negative, by a schedule from the end.

        Jobs are taken in the reverse of `ends`, the cycles at which a schedule ends them; buffers are not counted.
        """
        loops = compiled_loops()
        self.jobs_scheduled += len(self.table)
        return backward(self.table, ends) if loops is None else loops.backward(self.table, ends)

    def makespan(self, starts: np.ndarray) -> int:
        """Cycles until every job is done and its message has arrived."""
        return int((starts + self.table.duration + self.table.latency).max(initial=0))


def backward(table: JobTable, ends: np.ndarray) -> np.ndarray:
    """`ListScheduler.latest_starts` in Python."""
    queue_of, durations, latencies = table.queue.tolist(), table.duration.tolist(), table.latency.tolist()
    dependencies, urgency = table.dependencies.lists(), ends.tolist()
    missing = [len(readers) for readers in table.readers.lists()]
    ready: list[list[tuple[int, int]]] = [[] for _ in Queue]
    free_at = [0] * len(Queue)
    available, start = [0] * len(table), [0] * len(table)
    events = [(latencies[index], False, index) for index, count in enumerate(missing) if not count]
    heapq.heapify(events)
    while events:
        now = events[0][0]
        touched = set()
        while events and events[0][0] == now:
            _, ended, index = heapq.heappop(events)
            touched.add(queue_of[index])
            if not ended:
                heapq.heappush(ready[queue_of[index]], (-urgency[index], index))
        for queue in touched:
            while ready[queue] and free_at[queue] <= now:
                index = heapq.heappop(ready[queue])[1]
                reached = free_at[queue] = now + durations[index]
                start[index] = -reached
                heapq.heappush(events, (reached, True, index))
                for before in dependencies[index]:
                    missing[before] -= 1
                    available[before] = max(available[before], reached)
                    if not missing[before]:
                        heapq.heappush(events, (available[before] + latencies[before], False, before))
    return np.array(start, np.int64)


class Forward:
    """The state of one forward run in Python: what is ready, what is free, what time it is."""

    def __init__(self, table: JobTable, order: np.ndarray, buffer_bytes: int, reserve: int) -> None:
        self.order: list[int] = order.tolist()
        self.queue, self.weights = table.queue.tolist(), table.weights.tolist()
        self.duration, self.latency = table.duration.tolist(), table.latency.tolist()
        self.allocates, self.load = table.allocates.tolist(), table.load.tolist()
        self.product, self.weight_loads = table.product.tolist(), table.weight_loads.tolist()
        self.readers, self.releases = table.readers.lists(), table.releases.lists()
        self.missing, self.holders = [len(items) for items in table.dependencies.lists()], table.holders.tolist()
        self.buffer = OnChipBuffer(buffer_bytes, reserve)
        self.starts, self.addresses = [0] * len(table), [0] * len(table)
        self.ready: list[list[tuple[int, int]]] = [[] for _ in Queue]
        self.next_weights = self.computing = 0
        #: Nothing about loads has changed since none could start.
        self.loads_blocked = False

    def run(self) -> tuple[list[int], list[int]]:
        """Start cycles and buffer addresses by job.

        Raises:
            RuntimeError: a tile larger than the part of the buffer that weights leave free.
        """
        free_at, ready = [0] * len(Queue), self.ready
        events: list[tuple[int, int, bool]] = []  # cycle, job, whether its result is there (or only its queue free)
        for index, count in enumerate(self.missing):
            if not count and not self.weights[index]:
                heapq.heappush(ready[self.queue[index]], (self.order[index], index))
        now, done, touched = 0, 0, set(range(len(Queue)))
        while done < len(self.queue):
            touched.add(LOAD)
            for queue in touched:
                while free_at[queue] <= now:
                    if queue == LOAD:
                        index = self._next_load()
                    else:
                        index = heapq.heappop(ready[queue])[1] if ready[queue] else -1
                    if index < 0:
                        break
                    if not self.allocates[index]:
                        self.addresses[index] = self.addresses[self.load[index]]
                    self.starts[index], free_at[queue] = now, now + self.duration[index]
                    heapq.heappush(events, (free_at[queue], index, not self.latency[index]))
                    if self.latency[index]:
                        heapq.heappush(events, (free_at[queue] + self.latency[index], index, True))
            if not events:
                raise RuntimeError("the schedule is stuck: no job can start")
            now, touched = events[0][0], set()
            while events and events[0][0] == now:
                _, index, finished = heapq.heappop(events)
                touched.add(self.queue[index])
                if finished:
                    done += 1
                    self._finish(index, touched)
        return self.starts, self.addresses

    def _next_load(self) -> int:
        """The next tile or the next weights, whichever is more urgent among those whose buffer fits; -1: none."""
        if self.loads_blocked:
            return -1
        ready = self.ready[LOAD]
        candidates = []
        if ready:
            candidates.append((*ready[0], False))
        if self.next_weights < len(self.weight_loads):
            index = self.weight_loads[self.next_weights]
            if self.product[index] <= self.computing + PREFETCHED_PRODUCTS:
                candidates.append((self.order[index], index, True))
        for _, index, weights in sorted(candidates):
            if not self._place(index, weights):
                continue
            if weights:
                self.next_weights += 1
            else:
                heapq.heappop(ready)
                self.computing = max(self.computing, self.product[index])
            return index
        self.loads_blocked = True
        return -1

    def _place(self, index: int, weights: bool) -> bool:
        """Whether the load has its place in the buffer; the pieces of a band go where the first one is."""
        if not self.allocates[index]:
            return True
        address = self.buffer.allocate(self.allocates[index], weights)
        if address is not None:
            self.addresses[index] = address
        return address is not None

    def _finish(self, index: int, touched: set[int]) -> None:
        for load in self.releases[index]:
            self.holders[load] -= 1
            if not self.holders[load]:
                self.buffer.release(self.addresses[load], self.allocates[load])
                self.loads_blocked = False
        for reader in self.readers[index]:
            self.missing[reader] -= 1
            if not self.missing[reader]:
                queue = self.queue[reader]
                touched.add(queue)
                heapq.heappush(self.ready[queue], (self.order[reader], reader))
                if queue == LOAD:
                    self.loads_blocked = False
