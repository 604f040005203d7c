"""A build as the validator reads it: which instruction does what to which tile, and what has certainly happened before.

What must hold under any timing is derived from the waits: `before` says which instructions have certainly completed
when another one starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from rrnet_nni.base.errors import Refusal

from ...devices import Device
from ...program import AnyOperation, Program
from ...program.build import INSTRUCTIONS, Build
from ...program.isa import Instruction, Opcode, Queue
from ...program.views import view_channel
from ...protocols import get_costs
from ..schedule.operand_table import Box, TiledStage

Key = TypeVar("Key", bound=tuple[int, ...])

WORD_BYTES = 4


class ScheduledBuild:
    """Instructions and tiles of a build.

    Attributes:
        loads, stores: instructions by operation, first or end phase of the stage, and tile.
        weights: the pieces of a band of weights, in order, by operation and band.
        by_operation: the stages of an operation, in order.

    Raises:
        Refusal: an instruction that belongs to nothing, comes twice, or waits for one that comes later.
    """

    def __init__(
        self, build: Build, device: Device, instructions: Sequence[Instruction], stages: Sequence[TiledStage]
    ) -> None:
        self.program, self.device, self.instructions, self.stages = build.program, device, instructions, stages
        self.protocol = get_costs(build.protocol_name)
        self.placed = self.protocol.in_place(build.program)
        self.where = str(build.path / INSTRUCTIONS)
        self.by_operation: dict[int, list[TiledStage]] = {}
        for stage in stages:
            self.by_operation.setdefault(stage.operation, []).append(stage)
        self.clock, self.ticket = _clocks(instructions), _tickets(instructions)
        self.loads: dict[tuple[int, int, int], int] = {}
        self.stores: dict[tuple[int, int, int], int] = {}
        self.weights: dict[tuple[int, int], list[int]] = {}
        for index, item in enumerate(instructions):
            self._index(index, item)

    def refuse(self, index: int, problem: str) -> Refusal:
        """A refusal that names an instruction."""
        item = self.instructions[index]
        name = self.program.operations[item.operation].name
        return Refusal(
            f"{self.where}: instruction {index} ({item.opcode.name} of {name!r}, tile {item.tile}) {problem}"
        )

    def before(self, first: int, second: int) -> bool:
        """Whether instruction `first` has certainly completed when `second` starts."""
        queue, count = self.ticket[first]
        return self.clock[second][queue] >= count

    def operation(self, stage: TiledStage) -> AnyOperation:
        return self.program.operations[stage.operation]

    def load(self, stage: TiledStage, tile: int) -> int:
        """The instruction that loads a tile."""
        return self.loads[stage.operation, stage.first_phase, tile]

    def store(self, stage: TiledStage, tile: int) -> int:
        """The instruction that stores a tile."""
        return self.stores[stage.operation, stage.end_phase, tile]

    def bands(self, stage: TiledStage) -> list[tuple[tuple[int, int], list[int]]]:
        """Channel bands of a product's stage with the loads of their weights, in order of channels."""
        if stage is not self.by_operation[stage.operation][-1]:
            return []
        numbers = sorted(number for operation, number in self.weights if operation == stage.operation)
        bands = sorted({(tile[0], tile[1]) for tile in stage.tiles})
        if numbers and numbers != list(range(len(bands))):
            raise Refusal(f"operation {stage.operation}: {len(numbers)} weight loads for {len(bands)} channel bands")
        return [(bands[number], self.weights[stage.operation, number]) for number in numbers]

    def _index(self, index: int, item: Instruction) -> None:
        if item.operation >= len(self.program.operations):
            raise Refusal(
                f"{self.where}: instruction {index} belongs to operation {item.operation}, which is not there"
            )
        step = (item.operation, item.phase, item.tile)
        if item.opcode is Opcode.LOAD:
            self._record(self.loads, step, index)
        elif item.opcode is Opcode.STORE:
            self._record(self.stores, step, index)
        elif item.opcode is Opcode.LOAD_WEIGHTS:
            self._add_piece(index, item)

    def _record(self, table: dict[Key, int], key: Key, index: int) -> None:
        if key in table:
            raise self.refuse(index, "comes a second time")
        table[key] = index

    def _add_piece(self, index: int, item: Instruction) -> None:
        """A piece of a band follows the one before it, in the weights and in the buffer."""
        pieces = self.weights.setdefault((item.operation, item.tile), [])
        words = sum(self.instructions[piece].amount for piece in pieces) // WORD_BYTES
        if item.count != words:
            raise self.refuse(index, f"loads weights from word {item.count} on, expected word {words}")
        if pieces and item.address != self.instructions[pieces[0]].address + WORD_BYTES * words:
            raise self.refuse(index, "puts weights elsewhere than behind those that it continues")
        pieces.append(index)


def image_shape(program: Program, tensor: str) -> tuple[int, int, int]:
    """(channels, rows, width); flat tensors are one row of single pixels."""
    shape = program.tensor(tensor).shape
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)


def boxes_overlap(first: Box, second: Box) -> bool:
    return first[0] < second[1] and second[0] < first[1] and first[2] < second[3] and second[2] < first[3]


def makers(scheduled: ScheduledBuild, tensor: str) -> list[TiledStage]:
    """The stage whose tiles make a tensor; none makes the program's input."""
    for index, operation in enumerate(scheduled.program.operations):
        if operation.output == tensor:
            if view_channel(operation, scheduled.program) is not None:
                return makers(scheduled, operation.inputs[0])
            return [scheduled.by_operation[index][-1]]
    return []


def _tickets(instructions: Sequence[Instruction]) -> list[tuple[Queue, int]]:
    issued = dict.fromkeys(Queue, 0)
    tickets = []
    for item in instructions:
        issued[item.queue] += 1
        tickets.append((item.queue, issued[item.queue]))
    return tickets


def _clocks(instructions: Sequence[Instruction]) -> list[Mapping[Queue, int]]:
    """For each instruction, how many of each queue have certainly completed when it starts.

    A queue starts its instructions in order, so one that starts later knows all that earlier ones waited for; a
    message completes only when it arrives, so starting after it says nothing of its arrival.
    """
    known: dict[Queue, dict[Queue, int]] = {queue: dict.fromkeys(Queue, 0) for queue in Queue}
    history: dict[Queue, list[dict[Queue, int]]] = {queue: [] for queue in Queue}
    clocks: list[Mapping[Queue, int]] = []
    for index, item in enumerate(instructions):
        have = known[item.queue]
        for queue, count in item.waits:
            if count > len(history[queue]):
                raise Refusal(f"instruction {index} waits for instruction {count} of {queue.name}, which comes later")
            have[queue] = max(have[queue], count)
            if count:
                for other, reached in history[queue][count - 1].items():
                    have[other] = max(have[other], reached)
        clocks.append(dict(have))
        history[item.queue].append(dict(have))
        if item.queue not in (Queue.SEND, Queue.RECEIVE):
            have[item.queue] = len(history[item.queue])
    return clocks
