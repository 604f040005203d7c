"""Operations that need not wait for each other: what is computed of the slices of a tensor before they are joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .operations import AffineOp, AnyOperation, ConcatOp, PadOp, PickOp, ReshapeOp, SumPoolOp
from .program import Program

_LOCAL = AffineOp, ConcatOp, PadOp, PickOp, ReshapeOp, SumPoolOp


@dataclass(frozen=True)
class SideBySide:
    """Lanes of operations from the picks of a tensor to the concatenation of what becomes of them.

    No lane reads another's tensors, so that their rounds can be taken together. All operations from `first` up to
    `join`, the concatenation, are in a lane.
    """

    first: int
    join: int
    lanes: tuple[tuple[int, ...], ...]

    def longest(self, rounds: Sequence[int]) -> int:
        """The lane with the most rounds, of those of every operation of the program; the first of several."""
        totals = [sum(rounds[index] for index in lane) for lane in self.lanes]
        return totals.index(max(totals))


def side_by_side(program: Program) -> list[SideBySide]:
    """All lanes of a program, of which at least two send something."""
    makers = {operation.output: index for index, operation in enumerate(program.operations)}
    readers = Counter([name for operation in program.operations for name in operation.inputs] + [program.output])
    found = []
    for join, operation in enumerate(program.operations):
        if not isinstance(operation, ConcatOp):
            continue
        lanes = [_lane(program, makers, name) for name in operation.inputs]
        members = sorted(index for lane in lanes for index in lane)
        first = join - len(members)
        sending = sum(any(not isinstance(program.operations[i], _LOCAL) for i in lane) for lane in lanes)
        if sending > 1 and members == list(range(first, join)) and _closed(program, lanes, readers):
            found.append(SideBySide(first, join, tuple(map(tuple, lanes))))
    return found


def _lane(program: Program, makers: dict[str, int], output: str) -> list[int]:
    """The operations that `output` depends on, back to picks; none where something else is read."""
    lane: set[int] = set()
    pending = [output]
    while pending:
        index = makers.get(pending.pop())
        if index is None:
            return []
        lane.add(index)
        operation: AnyOperation = program.operations[index]
        if not isinstance(operation, PickOp):
            pending += operation.inputs
    return sorted(lane)


def _closed(program: Program, lanes: Sequence[Sequence[int]], readers: Counter[str]) -> bool:
    """Whether nobody but its own lane and the concatenation reads what a lane makes."""
    for lane in lanes:
        if not lane:
            return False
        operations = [program.operations[index] for index in lane]
        inside = Counter(name for operation in operations for name in operation.inputs)
        last = operations[-1].output
        if any(
            readers[operation.output] != inside[operation.output] + (operation.output == last)
            for operation in operations
        ):
            return False
    return True
