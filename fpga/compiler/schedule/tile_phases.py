"""What falls to one tile of each phase of an operation's protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...cost.array import part_cycles
from ...cost.protocol import Compute, Exchange, Phase, ProtocolCosts, comparison_start
from ...devices import Device
from ...program import AnyOperation, MaxPoolOp, Program, ReluOp, SelectOp
from ...program.operators import Conv, Linear, OperatorShape
from ...program.shapes import operation_shape, tile_shape
from .regions import Region

#: Elements [start, stop) of all `total` elements of a stage.
Share = tuple[int, int, int]


class TilePhases:
    """The parts of a program's phases that fall to tiles."""

    def __init__(self, program: Program, device: Device, placed: Mapping[str, ProtocolCosts]) -> None:
        self.program, self.device, self.placed = program, device, placed
        self.priced: dict[tuple[str, OperatorShape], Sequence[Phase]] = {}

    def parts(
        self, operation: AnyOperation, region: Region, phases: Sequence[Phase], first_phase: int, share: Share
    ) -> list[Phase]:
        """A tile's share of the work and of the words, and its own bit planes of a comparison.

        Args:
            phases: of the stage, of which `first_phase` is the number within the operation's.
        """
        shape = operation_shape(operation, self.program)
        parts: list[Phase] = []
        for phase in phases:
            if isinstance(phase, Compute):
                parts.append(Compute(phase.kernel, self._cycles(shape, region, phase, share)))
            else:
                first, second = phase.bytes_sent
                parts.append(Exchange((_part(first, share), _part(second, share))))
        start = comparison_start(phases)
        if isinstance(operation, ReluOp | SelectOp | MaxPoolOp) and start < len(phases):
            own = self._own_phases(operation, region)[first_phase:]
            for number in range(start, len(phases)):
                if isinstance(phases[number], Exchange):
                    parts[number] = own[number] if number < len(own) else Exchange((0, 0))
        return parts

    def _own_phases(self, operation: AnyOperation, region: Region) -> Sequence[Phase]:
        """The phases of an operation on this region alone; tiles of one shape have the same."""
        key = operation.name, tile_shape(operation, self.program, region.channels, region.rows)
        if key not in self.priced:
            self.priced[key] = self.placed[operation.name].phases(key[1], self.device)
        return self.priced[key]

    def _cycles(self, shape: OperatorShape, region: Region, phase: Compute, share: Share) -> int:
        """A product takes the cycles of its tile's own shape where the array's are known, other work its share."""
        accelerator = self.device.accelerator
        if accelerator is None or phase.kernel != "array" or not isinstance(shape, Conv | Linear):
            return _part(math.ceil(phase.cycles), share)
        return part_cycles(phase.cycles, shape, region.channels, region.rows, accelerator)


def _part(whole: int, share: Share) -> int:
    """The part of an integer that falls to elements [start, stop) of total; parts add up exactly."""
    start, stop, total = share
    return whole * stop // total - whole * start // total
