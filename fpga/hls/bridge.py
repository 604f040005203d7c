"""Between one accelerator and one software party: tiles of messages become whole rounds of the link, and back.

An accelerator sends a tile's bit planes in slices of 128 elements, a software party whole planes of an operation.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..program.isa import Instruction, Opcode
from ..program.operands import Flag, Kind, OperandTable, ProtocolNumber, Record
from ..program.operators import MaxPool
from ..protocols import PROTOCOLS
from ..protocols.party import Channel
from ..protocols.shared.pool_tree import PoolTree, pool_tree

SLICE_ELEMENTS = 128


@dataclass(frozen=True)
class Round:
    """One exchange of one operation: its planes (0: words), its elements, and where each tile's lie among them."""

    operation: int
    phase: int
    planes: int
    elements: int
    tiles: tuple[np.ndarray, ...]

    @property
    def octets(self) -> int:
        return 4 * self.elements if self.planes == 0 else self.planes * (-(-self.elements // 8))


class Bridge:
    """Carries one image's rounds; `descriptor` is the end of the accelerator's pipe."""

    def __init__(self, table: OperandTable, instructions: Sequence[Instruction], party: int, channel: Channel) -> None:
        self._channel, self._party = channel, party
        phases: dict[tuple[int, int], set[Opcode]] = {}
        for item in instructions:
            if item.opcode in (Opcode.SEND, Opcode.RECEIVE):
                phases.setdefault((item.operation, item.phase), set()).add(item.opcode)
        self._directions = phases
        self._rounds = list(_rounds(table, sorted(phases)))

    def carry(self, end: socket.socket) -> None:
        """Every round in program order."""
        own, others = (Opcode.SEND, Opcode.RECEIVE)[:: 1 if self._party == 0 else -1]
        for step in self._rounds:
            directions = self._directions[step.operation, step.phase]
            outgoing = _join(step, end) if own in directions else None
            incoming = self._channel.exchange(outgoing, step.octets if others in directions else 0)
            if others in directions:
                for message in _cut(step, incoming):
                    end.sendall(message)


def _rounds(table: OperandTable, exchanges: Sequence[tuple[int, int]]) -> Iterator[Round]:
    protocol = table.header["protocol"]
    for operation, record in enumerate(table.sections["operations"]):
        phases = [phase for index, phase in exchanges if index == operation]
        if not phases:
            continue
        stages = table.sections["stages"][record["first_stage"] : record["first_stage"] + record["stages"]]
        for phase, (planes, level) in zip(phases, _payloads(record, protocol), strict=True):
            stage = next(stage for stage in stages if stage["first_phase"] <= phase < stage["end_phase"])
            tiles = table.sections["tiles"][stage["first_tile"] : stage["first_tile"] + stage["tiles"]]
            if level is None:
                places, elements = _region_places(record, stage, tiles)
            else:
                places, elements = _comparison_places(record, tiles, level)
            yield Round(operation, phase, planes, elements, tuple(places))


def _payloads(record: Record, protocol: int) -> Iterator[tuple[int, int | None]]:
    """(planes, pooling level) of an operation's exchanges, in order."""
    layouts = (known.accelerator for known in PROTOCOLS.values() if known.accelerator is not None)
    comparison = next(layout.comparison_planes for layout in layouts if layout.number == protocol)
    opens = bool(record["flags"] & Flag.OPENS)
    if record["kind"] == Kind.RELU:
        yield from ([(0, None)] if opens else [])
        yield from ((planes, None) for planes in comparison)
    elif record["kind"] == Kind.MAXPOOL:
        yield from ([(0, None)] if opens else [])
        for level in range(len(_tree(record).levels)):
            yield from ([(0, level)] if protocol != ProtocolNumber.BEAVER_OT and level else [])
            yield from ((planes, level) for planes in comparison)
    else:
        yield 0, None


def _tree(record: Record) -> PoolTree:
    padding = (record["pad_top"], record["pad_left"], record["pad_bottom"], record["pad_right"])
    kernel, stride = (record["kernel_h"], record["kernel_w"]), (record["stride_h"], record["stride_w"])
    return pool_tree(MaxPool(record["channels"], record["height"], record["width"], kernel, stride, padding))


def _region_places(record: Record, stage: Record, tiles: Sequence[Record]) -> tuple[list[np.ndarray], int]:
    names = ("channels", "height", "width") if stage["opens"] else ("out_channels", "out_height", "out_width")
    shape = tuple(record[name] for name in names)
    whole = np.arange(np.prod(shape)).reshape(shape)
    places = [
        whole[tile["channel_begin"] : tile["channel_end"], tile["row_begin"] : tile["row_end"]].reshape(-1)
        for tile in tiles
    ]
    return places, whole.size


def _comparison_places(record: Record, tiles: Sequence[Record], level: int) -> tuple[list[np.ndarray], int]:
    windows = _tree(record).levels[level].places[0]
    rows = windows // record["out_width"]
    places = []
    for tile in tiles:
        inside = np.flatnonzero((rows >= tile["row_begin"]) & (rows < tile["row_end"]))
        channels = np.arange(tile["channel_begin"], tile["channel_end"])
        places.append((channels[:, None] * len(windows) + inside).reshape(-1))
    return places, len(windows) * record["out_channels"]


def _join(step: Round, end: socket.socket) -> np.ndarray:
    """The round's whole message from the tiles' messages."""
    if step.planes == 0:
        words = np.zeros(step.elements, "<u4")
        for places in step.tiles:
            words[places] = np.frombuffer(_receive(end, 4 * len(places)), "<u4")
        return words
    bits = np.zeros((step.planes, step.elements), np.uint8)
    for places in step.tiles:
        octets = np.frombuffer(_receive(end, step.planes * (-(-len(places) // 8))), np.uint8)
        position = 0
        for first in range(0, len(places), SLICE_ELEMENTS):
            part = places[first : first + SLICE_ELEMENTS]
            size = step.planes * (-(-len(part) // 8))
            planes = octets[position : position + size].reshape(step.planes, -1)
            bits[:, part] = np.unpackbits(planes, axis=1, count=len(part))
            position += size
    return np.packbits(bits, axis=1)


def _cut(step: Round, whole: np.ndarray) -> Iterator[bytes]:
    """The tiles' messages of a round's whole message."""
    if step.planes == 0:
        words = whole.view("<u4")
        yield from (words[places].tobytes() for places in step.tiles)
        return
    bits = np.unpackbits(whole.reshape(step.planes, -1), axis=1, count=step.elements)
    for places in step.tiles:
        parts = (places[first : first + SLICE_ELEMENTS] for first in range(0, len(places), SLICE_ELEMENTS))
        yield b"".join(np.packbits(bits[:, part], axis=1).tobytes() for part in parts)


def _receive(end: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = end.recv(count - len(data))
        if not part:
            raise ConnectionError("the accelerator closed its pipe")
        data += part
    return bytes(data)
