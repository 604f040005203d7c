"""What falls to one tile of each phase of an operation's protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ...cost.array import part_cycles
from ...cost.protocol import Exchange, Phase, ProtocolCosts, comparison_start
from ...devices import Device
from ...program import AnyOperation, MaxPoolOp, Program, ReluOp, SelectOp
from ...program.isa import Queue
from ...program.operators import Conv, Linear, OperatorShape
from ...program.shapes import operation_shape, tile_shape
from .regions import Region

KERNEL_QUEUE = {"array": Queue.ARRAY, "comparator": Queue.COMPARATOR, "alu": Queue.ALU}

#: Elements [start, stop) of all `total` elements of a stage.
Share: TypeAlias = tuple[int, int, int]
#: What a phase gives to queues at one time: cycles to that of a kernel, bytes to those of the link; empty if nothing.
Work: TypeAlias = tuple[tuple[Queue, int], ...]
Parts: TypeAlias = Callable[[Region, Share], list[Work]]


class TilePhases:
    """The parts of a program's phases that fall to tiles."""

    def __init__(self, program: Program, device: Device, placed: Mapping[str, ProtocolCosts]) -> None:
        self.program, self.device, self.placed = program, device, placed
        self.priced: dict[tuple[str, OperatorShape], list[Work]] = {}

    def of_stage(self, operation: AnyOperation, phases: Sequence[Phase], first_phase: int) -> Parts:
        """A tile's share of the work and of the words, and its own bit planes of a comparison, phase by phase.

        Args:
            phases: of the stage, of which `first_phase` is the number within the operation's.
        """
        steps = [self._step(operation, phase) for phase in phases]
        compared = isinstance(operation, ReluOp | SelectOp | MaxPoolOp)
        start = comparison_start(phases) if compared else len(phases)
        own = [number for number in range(start, len(phases)) if isinstance(phases[number], Exchange)]

        def parts(region: Region, share: Share) -> list[Work]:
            works = [step(region, share) for step in steps]
            if start < len(phases):
                alone = self._own_exchanges(operation, region)
                for number in own:
                    works[number] = alone[first_phase + number] if first_phase + number < len(alone) else ()
            return works

        return parts

    def _step(self, operation: AnyOperation, phase: Phase) -> Callable[[Region, Share], Work]:
        """A product takes the cycles of its tile's own shape where the array's are known, other work its share."""
        if isinstance(phase, Exchange):
            return lambda region, share: _sent(*(_part(size, share) for size in phase.bytes_sent))
        queue, whole, accelerator = KERNEL_QUEUE[phase.kernel], math.ceil(phase.cycles), self.device.accelerator
        shape = operation_shape(operation, self.program)
        if accelerator is None or phase.kernel != "array" or not isinstance(shape, Conv | Linear):
            return lambda region, share: _computed(queue, _part(whole, share))
        cycles = phase.cycles
        return lambda region, share: _computed(
            queue, part_cycles(cycles, shape, region.channels, region.rows, accelerator)
        )

    def _own_exchanges(self, operation: AnyOperation, region: Region) -> list[Work]:
        """The messages of an operation on this region alone, by phase; tiles of one shape have the same."""
        key = operation.name, tile_shape(operation, self.program, region.channels, region.rows)
        if key not in self.priced:
            phases = self.placed[operation.name].phases(key[1], self.device)
            self.priced[key] = [_sent(*phase.bytes_sent) if isinstance(phase, Exchange) else () for phase in phases]
        return self.priced[key]


def _computed(queue: Queue, cycles: int) -> Work:
    return ((queue, cycles),) if cycles else ()


def _sent(first: int, second: int) -> Work:
    """The bytes that party 0 and party 1 send."""
    if first and second:
        return (Queue.SEND, first), (Queue.RECEIVE, second)
    if first or second:
        return ((Queue.SEND, first),) if first else ((Queue.RECEIVE, second),)
    return ()


def _part(whole: int, share: Share) -> int:
    """The part of an integer that falls to elements [start, stop) of total; parts add up exactly."""
    start, stop, total = share
    return whole * stop // total - whole * start // total
