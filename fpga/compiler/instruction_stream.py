"""A schedule as instructions: each queue in its order, with the waits that dependencies and buffers need."""

from __future__ import annotations

from collections.abc import Sequence

from ..isa import QUEUE_OPCODE, WAITS, Instruction, Opcode, Queue
from .job_writer import WORD_BYTES
from .schedule import Schedule


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
                schedule.addresses[index] + (WORD_BYTES * job.count if job.weights else 0),
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
