"""What no schedule of the same jobs can undercut.

`critical path` is the longest chain of dependent jobs. The bound of a queue is that of one machine with heads and
tails: a job cannot start before its head, the longest chain that leads to it, and after it its tail must follow.
Jackson's preemptive rule (the longest tail first) solves that machine exactly, so the bound holds for every schedule.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from ..isa import Queue
from .tiling import Job


def lower_bounds(jobs: Sequence[Job]) -> dict[str, int]:
    """Cycles by reason: the critical path and every queue."""
    tails, heads = distances_to_end(jobs), distances_from_start(jobs)
    bounds = {"critical path": max(tails, default=0)}
    for queue in Queue:
        mine = [index for index, job in enumerate(jobs) if job.queue is queue]
        machine = [(heads[i], jobs[i].duration, tails[i] - jobs[i].duration) for i in mine]
        bounds[queue.name.lower()] = one_machine_bound(machine)
    return bounds


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


def one_machine_bound(machine: Sequence[tuple[int, int, int]]) -> int:
    """Shortest preemptive schedule of one machine; jobs are (head, duration, tail)."""
    waiting: list[list[int]] = []  # [-tail, rest of the duration]
    incoming = sorted(machine)
    now, bound, position = 0, 0, 0
    while position < len(incoming) or waiting:
        if not waiting:
            now = max(now, incoming[position][0])
        while position < len(incoming) and incoming[position][0] <= now:
            _, duration, tail = incoming[position]
            heapq.heappush(waiting, [-tail, duration])
            position += 1
        current = waiting[0]
        until_next = incoming[position][0] - now if position < len(incoming) else current[1]
        step = min(current[1], until_next)
        now += step
        current[1] -= step
        if not current[1]:
            heapq.heappop(waiting)
            bound = max(bound, now - current[0])
    return bound
