"""A schedule as instructions: each queue in its order, with the waits that dependencies and buffers need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...program.isa import QUEUE_OPCODE, WAITS, Instruction, Opcode, Queue
from .job_writer import WORD_BYTES
from .jobs import Job
from .schedule import Schedule


def schedule_instructions(schedule: Schedule) -> list[Instruction]:
    """The schedule as instructions, each queue in its order, with the waits that dependencies and buffers need.

    A wait that other waits already imply is left out; where more remain than an instruction holds, WAIT instructions
    carry them.
    """
    order = schedule.order
    buffer_waits = _buffer_waits(schedule, order)
    writer = _Writer(schedule)
    for index in order:
        writer.add(index, buffer_waits.get(index, ()))
    return writer.instructions


class _Writer:
    """Appends instructions in the order of their start.

    `known[queue]` counts, per queue, the instructions that have certainly completed when the next one of `queue`
    starts; `clocks[job]` those that have when the job completes, itself included.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.jobs, self.addresses = schedule.jobs, schedule.addresses
        self.ends = [start + job.duration + job.latency for start, job in zip(schedule.starts, schedule.jobs)]
        self.instructions: list[Instruction] = []
        self.issued = [0] * len(Queue)
        self.known = [[0] * len(Queue) for _ in Queue]
        self.tickets = [0] * len(self.jobs)
        self.clocks: list[list[int]] = [[]] * len(self.jobs)

    def add(self, index: int, buffer_waits: Iterable[int]) -> None:
        """The instruction of a job, behind as many WAITs as it needs."""
        job = self.jobs[index]
        needed = self._waits(job, {*job.dependencies, *buffer_waits})
        while len(needed) > WAITS:
            carried = tuple(needed[:WAITS])
            self.instructions.append(Instruction(Opcode.WAIT, job.queue, job.operation, job.tile, job.phase, carried))
            self.issued[job.queue] += 1
            needed = needed[WAITS:]
        self.issued[job.queue] += 1
        have = self.known[job.queue]
        self.tickets[index] = self.issued[job.queue]
        self.clocks[index] = clock = have.copy()
        clock[job.queue] = self.issued[job.queue]
        if not job.latency:
            # an in-order queue without latency has completed what it issued before
            have[job.queue] = self.issued[job.queue]
        self.instructions.append(
            Instruction(
                Opcode.LOAD_WEIGHTS if job.weights else QUEUE_OPCODE[job.queue],
                job.queue,
                job.operation,
                job.tile,
                job.phase,
                tuple(needed),
                job.amount,
                self.addresses[index] + (WORD_BYTES * job.count if job.weights else 0),
                job.count,
            )
        )

    def _waits(self, job: Job, before: set[int]) -> list[tuple[Queue, int]]:
        """(queue, completed instructions) for all of `before`, the latest first, without what is known by then."""
        needed = []
        have = self.known[job.queue]
        for earlier in sorted(before, key=lambda i: (-self.ends[i], i)) if len(before) > 1 else before:
            queue, count = self.jobs[earlier].queue, self.tickets[earlier]
            if (queue is job.queue and not self.jobs[earlier].latency) or have[queue] >= count:
                continue
            needed.append((queue, count))
            have = list(map(max, have, self.clocks[earlier]))
        self.known[job.queue] = have
        return needed


def _buffer_waits(schedule: Schedule, order: Sequence[int]) -> dict[int, set[int]]:
    """The stores that a load must wait for: those of the tiles whose buffer bytes it takes over."""
    stores: dict[int, list[int]] = {}
    for index, job in enumerate(schedule.jobs):
        for load in job.releases:
            stores.setdefault(load, []).append(index)
    waits: dict[int, set[int]] = {}
    owners: list[tuple[int, int, int]] = []  # start, end, load of the last tile that held these bytes
    for index in order:
        size = schedule.jobs[index].allocates
        if not size:
            continue
        begin, end = schedule.addresses[index], schedule.addresses[index] + size
        taken = [owner for owner in owners if owner[0] < end and begin < owner[1]]
        if taken:
            owners = [owner for owner in owners if owner[1] <= begin or end <= owner[0]]
        for start, stop, load in taken:
            waits.setdefault(index, set()).update(stores[load])
            owners += [(a, b, load) for a, b in ((start, min(stop, begin)), (max(start, end), stop)) if a < b]
        owners.append((begin, end, index))
    return waits
