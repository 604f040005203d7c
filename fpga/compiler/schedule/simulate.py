"""Event-driven execution of instructions.bin on the device model: queues in order, waits, messages with latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rrnet_nni.base.errors import Refusal

from ...devices import Device
from ...program.isa import Instruction, Opcode, Queue
from .jobs import Rates


@dataclass(frozen=True)
class Simulation:
    """Start and completion cycle of every instruction; cycles that each queue is `busy`, or `stalled` by a wait."""

    starts: Sequence[int]
    completions: Sequence[int]
    makespan: int
    busy: dict[Queue, int]
    stalled: dict[Queue, int]


def instruction_cycles(instruction: Instruction, rates: Rates) -> tuple[int, int]:
    """(cycles on its queue, further cycles until it completes) under these rates."""
    match instruction.opcode:
        case Opcode.WAIT:
            return 0, 0
        case Opcode.LOAD | Opcode.LOAD_WEIGHTS:
            return _ceil(instruction.amount / rates.load_bytes_per_cycle), 0
        case Opcode.STORE:
            return _ceil(instruction.amount / rates.store_bytes_per_cycle), 0
        case Opcode.SEND | Opcode.RECEIVE:
            return _ceil(instruction.amount / rates.link_bytes_per_cycle), rates.latency_cycles
    return instruction.amount, 0


def _ceil(value: float) -> int:
    return -int(-value // 1)


def simulate(instructions: Sequence[Instruction], device: Device) -> Simulation:
    """Run the instructions to the end.

    Raises:
        Refusal: they wait for each other, or for something that never happens.
    """
    rates = Rates.of(device)
    queues: dict[Queue, list[int]] = {queue: [] for queue in Queue}
    for index, instruction in enumerate(instructions):
        queues[instruction.queue].append(index)
    position = dict.fromkeys(Queue, 0)
    free_at, busy, stalled = (dict.fromkeys(Queue, 0) for _ in range(3))
    completed: dict[Queue, list[int]] = {queue: [] for queue in Queue}  # completion cycle of the first n
    starts, completions = [0] * len(instructions), [0] * len(instructions)
    remaining, progress = len(instructions), True
    while remaining and progress:
        progress = False
        for queue, indices in queues.items():
            while position[queue] < len(indices):
                index = indices[position[queue]]
                instruction = instructions[index]
                if any(len(completed[other]) < count for other, count in instruction.waits):
                    break
                start = max(
                    [free_at[queue], *(completed[other][count - 1] for other, count in instruction.waits if count)]
                )
                duration, latency = instruction_cycles(instruction, rates)
                stalled[queue] += start - free_at[queue]
                starts[index], free_at[queue] = start, start + duration
                busy[queue] += duration
                last = completed[queue][-1] if completed[queue] else 0
                completions[index] = max(last, start + duration + latency)
                completed[queue].append(completions[index])
                position[queue] += 1
                remaining -= 1
                progress = True
    if remaining:
        stuck = next(instructions[queues[q][position[q]]] for q in Queue if position[q] < len(queues[q]))
        raise Refusal(f"the instructions are stuck: {stuck.opcode.name} of operation {stuck.operation} waits for ever")
    return Simulation(starts, completions, max(completions, default=0), busy, stalled)
