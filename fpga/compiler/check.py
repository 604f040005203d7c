"""Validate a build against its schema alone; nothing of the scheduler is used.

What must hold under any timing is derived from the waits: `before` says which instructions have certainly completed
when another one starts.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..devices import Device, load_device
from ..errors import Refusal
from ..isa import HEADER, Instruction, Opcode, Queue, decode_instructions
from ..operands import decode_operands
from ..program import AnyOperation, MaxPoolOp, Program, ReluOp, ReshapeOp
from ..program_shapes import operation_shape, tile_shape
from ..protocols import get_protocol
from ..protocols.base import Exchange, comparison_start
from .build import INSTRUCTIONS, OPERANDS, TILES, Build, load_build, read_build_file
from .check_program import check_program, needed_region
from .operand_table import PROTOCOL_NUMBERS, Box, TiledStage, operand_table
from .simulate import simulate

Key = TypeVar("Key", bound=tuple[int, ...])

WORD_BYTES = 4


@dataclass(frozen=True)
class CheckResult:
    """What was found to hold."""

    instructions: int
    makespan_cycles: int
    checks: tuple[str, ...]


def check_build(path: Path | str, device: str | None = None) -> CheckResult:
    """Check a build directory.

    Args:
        path: the build.
        device: name or file of the device; default is the one that the report names.

    Raises:
        Refusal: the first rule that is broken, with the instruction or operation that breaks it.
    """
    build = load_build(path)
    described = load_device(device or build.device_name)
    for name in _listed_files(build):
        read_build_file(build.path, name)
    check_program(build.program)
    data = read_build_file(build.path, INSTRUCTIONS)
    instructions = decode_instructions(data, str(build.path / INSTRUCTIONS))
    if HEADER.unpack_from(data)[5] != bytes.fromhex(build.program_digest)[:12]:
        raise Refusal(f"{build.path / INSTRUCTIONS} belongs to another program.json")
    stages = _stages(build)
    makespan = simulate(instructions, described).makespan
    checker = _Checker(build, described, instructions, stages)
    checker.check_tiles()
    checker.check_messages()
    checker.check_dependencies()
    checker.check_buffers()
    done = ["checksums", "program", "instructions", "no deadlock", "tiles", "messages", "dependencies", "buffers"]
    if build.protocol_name in PROTOCOL_NUMBERS:
        _check_operands(build, described, stages)
        done.append("operands")
    return CheckResult(len(instructions), makespan, tuple(done))


def _listed_files(build: Build) -> list[str]:
    return sorted(json.loads((build.path / "manifest.json").read_bytes())["files"])


def _stages(build: Build) -> list[TiledStage]:
    where = build.path / TILES
    try:
        document = json.loads(read_build_file(build.path, TILES))
        return [
            TiledStage(
                int(entry["operation"]),
                str(entry["tensor"]),
                int(entry["phases"][0]),
                int(entry["phases"][1]),
                tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in entry["tiles"]),
            )
            for entry in document["stages"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{where} does not list the tiles of stages: {error}") from error


def _check_operands(build: Build, device: Device, stages: Sequence[TiledStage]) -> None:
    """operands.bin is what the program and its tiles say."""
    where = str(build.path / OPERANDS)
    data = read_build_file(build.path, OPERANDS)
    found = decode_operands(data, where)
    digest = bytes.fromhex(build.program_digest)
    if found.program_digest != digest[:12]:
        raise Refusal(f"{where} belongs to another program.json")
    expected = operand_table(
        build.program, stages, get_protocol(build.protocol_name), found.header["buffer_bytes"], digest
    )
    if found.header["buffer_bytes"] > device.buffer_bytes:
        raise Refusal(f"{where} needs {found.header['buffer_bytes']} bytes of buffer, {device.name} has fewer")
    for name, records in found.sections.items():
        for number, (record, meant) in enumerate(zip(records, expected.sections[name])):
            if record != meant:
                raise Refusal(f"{where}: record {number} of {name} is not what the program and its tiles say")
    if expected.encode() != data:
        raise Refusal(f"{where} is not what the program and its tiles say")


def _image(program: Program, tensor: str) -> tuple[int, int, int]:
    """(channels, rows, width); flat tensors are one row of single pixels."""
    shape = program.tensor(tensor).shape
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[1] and second[0] < first[1] and first[2] < second[3] and second[2] < first[3]


class _Checker:
    def __init__(
        self, build: Build, device: Device, instructions: Sequence[Instruction], stages: Sequence[TiledStage]
    ) -> None:
        self.program, self.device, self.instructions = build.program, device, instructions
        self.placed = get_protocol(build.protocol_name).in_place(build.program)
        self.where = str(build.path / INSTRUCTIONS)
        self.stages = stages
        self.by_operation: dict[int, list[TiledStage]] = {}
        for stage in stages:
            self.by_operation.setdefault(stage.operation, []).append(stage)
        self.clock = _clocks(instructions)
        self.ticket = _tickets(instructions)
        self.loads: dict[tuple[int, int, int], int] = {}
        self.stores: dict[tuple[int, int, int], int] = {}
        self.weights: dict[tuple[int, int], int] = {}
        for index, item in enumerate(instructions):
            self._index(index, item)

    def _refuse(self, index: int, problem: str) -> Refusal:
        item = self.instructions[index]
        name = self.program.operations[item.operation].name
        return Refusal(
            f"{self.where}: instruction {index} ({item.opcode.name} of {name!r}, tile {item.tile}) {problem}"
        )

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
            self._record(self.weights, (item.operation, item.tile), index)

    def _record(self, table: dict[Key, int], key: Key, index: int) -> None:
        if key in table:
            raise self._refuse(index, "comes a second time")
        table[key] = index

    def before(self, first: int, second: int) -> bool:
        """Whether instruction `first` has certainly completed when `second` starts."""
        queue, count = self.ticket[first]
        return self.clock[second][queue] >= count

    def check_tiles(self) -> None:
        """Every operation's last stage makes its whole output once; every tile has one load and one store."""
        for index, operation in enumerate(self.program.operations):
            stages = self.by_operation.get(index, [])
            if isinstance(operation, ReshapeOp):
                continue
            if not stages or stages[-1].tensor != operation.output:
                raise Refusal(f"operation {operation.name!r} has no tiles")
            for stage in stages:
                self._check_partition(operation.name, stage)
                for tile in range(len(stage.tiles)):
                    load = self.loads.get((index, stage.first_phase, tile))
                    store = self.stores.get((index, stage.end_phase, tile))
                    if load is None or store is None:
                        raise Refusal(f"operation {operation.name!r}: tile {tile} is never loaded or never stored")
                    if not self.before(load, store):
                        raise self._refuse(store, "may start before its tile is loaded")

    def _check_partition(self, name: str, stage: TiledStage) -> None:
        channels, rows, _ = _image(self.program, stage.tensor)
        area = 0
        for number, tile in enumerate(stage.tiles):
            if not (0 <= tile[0] < tile[1] <= channels and 0 <= tile[2] < tile[3] <= rows):
                raise Refusal(f"operation {name!r}: tile {number} {list(tile)} is not inside tensor {stage.tensor!r}")
            if any(_overlap(tile, other) for other in stage.tiles[:number]):
                raise Refusal(f"operation {name!r}: tile {number} is computed twice")
            area += (tile[1] - tile[0]) * (tile[3] - tile[2])
        if area != channels * rows:
            raise Refusal(f"operation {name!r}: its tiles do not cover tensor {stage.tensor!r}")

    def check_messages(self) -> None:
        """Every round of the protocol is there, with its bytes in both directions."""
        sent: dict[tuple[int, int], list[int]] = {}
        for item in self.instructions:
            if item.opcode in (Opcode.SEND, Opcode.RECEIVE):
                pair = sent.setdefault((item.operation, item.phase), [0, 0])
                pair[item.opcode is Opcode.RECEIVE] += item.amount
        for index, operation in enumerate(self.program.operations):
            for number, expected in enumerate(self._expected_bytes(index, operation)):
                found = tuple(sent.pop((index, number), (0, 0)))
                if found != expected:
                    raise Refusal(
                        f"operation {operation.name!r}, phase {number}: {found} bytes are sent, "
                        f"the protocol sends {expected}"
                    )
        if sent:
            raise Refusal(f"{self.where}: operation {min(sent)[0]} sends in phase {min(sent)[1]}, where nothing is due")

    def _expected_bytes(self, index: int, operation: AnyOperation) -> list[tuple[int, int]]:
        """Per phase what both parties send; a tile of a comparison has bit planes of its own, in whole octets."""
        protocol = self.placed[operation.name]
        whole = protocol.phases(operation_shape(operation, self.program), self.device)
        parts = [whole]
        if isinstance(operation, ReluOp | MaxPoolOp):
            tiles = self.by_operation[index][-1].tiles
            shapes = [tile_shape(operation, self.program, tile[:2], tile[2:]) for tile in tiles]
            parts = [protocol.phases(shape, self.device) for shape in shapes]
        start, sums = comparison_start(whole), []
        for number, phase in enumerate(whole):
            found = [phase] if number < start else [part[number] for part in parts if number < len(part)]
            sent = [part.bytes_sent for part in found if isinstance(part, Exchange)]
            sums.append((sum(first for first, _ in sent), sum(second for _, second in sent)))
        return sums

    def check_dependencies(self) -> None:
        """Every tile is loaded after all that it reads was stored, and its phases follow each other."""
        chains: dict[tuple[int, int, int], list[int]] = {}
        for index, item in enumerate(self.instructions):
            if item.opcode in (Opcode.WAIT, Opcode.LOAD_WEIGHTS):
                continue
            for number, stage in enumerate(self.by_operation.get(item.operation, ())):
                inside = stage.first_phase <= item.phase < stage.end_phase or (
                    item.phase == stage.end_phase and item.opcode is Opcode.STORE
                )
                if inside and not (item.opcode is Opcode.STORE and item.phase == stage.first_phase < stage.end_phase):
                    chains.setdefault((item.operation, number, item.tile), []).append(index)
        for (operation, number, tile), indices in chains.items():
            self._check_chain(indices)
            stage = self.by_operation[operation][number]
            self._check_inputs(stage, number, tile)

    def _check_chain(self, indices: Sequence[int]) -> None:
        """Load, phases in order, store: each after all of the phase before."""
        rank = {Opcode.LOAD: -1}
        ordered = sorted(indices, key=lambda i: (rank.get(self.instructions[i].opcode, self.instructions[i].phase), i))
        groups: list[list[int]] = []
        last: tuple[int, bool] | None = None
        for index in ordered:
            item = self.instructions[index]
            key = (item.phase, item.opcode in (Opcode.SEND, Opcode.RECEIVE))
            if item.opcode is not Opcode.LOAD and key == last and key[1]:
                groups[-1].append(index)
            else:
                groups.append([index])
            last = None if item.opcode is Opcode.LOAD else key
        for earlier, later in itertools.pairwise(groups):
            for index in later:
                for previous in earlier:
                    if not self.before(previous, index):
                        raise self._refuse(index, f"may start before instruction {previous} has completed")

    def _check_inputs(self, stage: TiledStage, number: int, tile: int) -> None:
        operation = self.program.operations[stage.operation]
        load = self.loads[stage.operation, stage.first_phase, tile]
        for source in (stage.tensor,) if stage.tensor != operation.output else operation.inputs:
            makers = [] if number == 0 else [self.by_operation[stage.operation][number - 1]]
            if not makers:
                makers = self._makers(source)
            box = stage.tiles[tile]
            needed = box if stage.tensor != operation.output else needed_region(operation, self.program, source, box)
            for maker in makers:
                flat = _image(self.program, maker.tensor) != _image(self.program, source)
                for other, made in enumerate(maker.tiles):
                    if flat or _overlap(made, needed):
                        store = self.stores[maker.operation, maker.end_phase, other]
                        if not self.before(store, load):
                            raise self._refuse(load, f"may read {source!r} before instruction {store} has stored it")
        for band, index in self._bands(stage):
            if band[0] < stage.tiles[tile][1] and stage.tiles[tile][0] < band[1] and not self.before(index, load):
                raise self._refuse(load, f"may start before its weights (instruction {index}) are there")

    def _makers(self, tensor: str) -> list[TiledStage]:
        for index, operation in enumerate(self.program.operations):
            if operation.output == tensor:
                if isinstance(operation, ReshapeOp):
                    return self._makers(operation.inputs[0])
                return [self.by_operation[index][-1]]
        return []

    def _bands(self, stage: TiledStage) -> list[tuple[tuple[int, int], int]]:
        """Channel bands of a product's stage with the load of their weights, in order of channels."""
        if stage is not self.by_operation[stage.operation][-1]:
            return []
        numbers = sorted(number for operation, number in self.weights if operation == stage.operation)
        bands = sorted({(tile[0], tile[1]) for tile in stage.tiles})
        if numbers and len(numbers) != len(bands):
            raise Refusal(f"operation {stage.operation}: {len(numbers)} weight loads for {len(bands)} channel bands")
        return [(bands[number], self.weights[stage.operation, number]) for number in numbers]

    def check_buffers(self) -> None:
        """No two tiles hold the same bytes at the same time, and none lies outside of the buffer."""
        held: list[tuple[int, int, int, tuple[int, ...]]] = []  # begin, end, load, last instructions of the holder
        for stage in self.stages:
            bands = self._bands(stage)
            for tile in range(len(stage.tiles)):
                load = self.loads[stage.operation, stage.first_phase, tile]
                item = self.instructions[load]
                operation = self.program.operations[stage.operation]
                stored = self.placed[operation.name].word_bytes()[1] if stage.tensor == operation.output else WORD_BYTES
                size = item.amount + stored * item.count
                held.append(
                    (item.address, item.address + size, load, (self.stores[stage.operation, stage.end_phase, tile],))
                )
            for band, index in bands:
                users = tuple(
                    self.stores[stage.operation, stage.end_phase, tile]
                    for tile, box in enumerate(stage.tiles)
                    if box[0] < band[1] and band[0] < box[1]
                )
                item = self.instructions[index]
                held.append((item.address, item.address + item.amount, index, users))
        self._check_disjoint(held)

    def _check_disjoint(self, held: list[tuple[int, int, int, tuple[int, ...]]]) -> None:
        for begin, end, load, _ in held:
            if begin < 0 or end > self.device.buffer_bytes:
                raise self._refuse(load, f"uses buffer bytes {begin} to {end} of {self.device.buffer_bytes}")
        held.sort(key=lambda entry: entry[2])
        live: list[tuple[int, int, int, tuple[int, ...]]] = []
        for entry in held:
            begin, end, load, _ = entry
            kept = []
            for other in live:
                if other[0] < end and begin < other[1]:
                    if not all(self.before(user, load) for user in other[3]):
                        raise self._refuse(load, f"takes buffer bytes that instruction {other[2]} may still use")
                    kept += [
                        (a, b, other[2], other[3])
                        for a, b in ((other[0], min(other[1], begin)), (max(other[0], end), other[1]))
                        if a < b
                    ]
                else:
                    kept.append(other)
            live = [*kept, entry]


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
