"""A build's instructions one after the other: the order in which a software party walks through the program.

A software party exchanges whole operations, round by round. An accelerator that works with one must therefore have all
tiles of an operation that exchanges something on the chip at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rrnet_nni.base.errors import Refusal

from ..program.isa import Instruction, Opcode
from ..program.operands import NO_BAND, Flag, OperandTable, Record

GRANULE = 64
_MESSAGES = (Opcode.SEND, Opcode.RECEIVE)


def serial_instructions(instructions: Sequence[Instruction], table: OperandTable, party: int) -> list[Instruction]:
    """The same work in program order; every instruction waits for the one before. A party sends before it receives.

    Raises:
        Refusal: an operation's tiles do not fit the buffer together.
    """
    ordered: list[Instruction] = []
    for index, record in enumerate(table.sections["operations"]):
        own = [item for item in instructions if item.operation == index and item.opcode is not Opcode.WAIT]
        for stage in table.sections["stages"][record["first_stage"] : record["first_stage"] + record["stages"]]:
            part = [item for item in own if _belongs(item, stage)]
            exchanges = any(item.opcode in _MESSAGES for item in part)
            make = _all_together if exchanges else _one_by_one
            ordered += make(part, record, stage, table, party)
    return _chained(ordered)


def _belongs(item: Instruction, stage: Record) -> bool:
    if item.opcode is Opcode.STORE:
        return item.phase == stage["end_phase"]
    return stage["first_phase"] <= item.phase < stage["end_phase"]


def _size(item: Instruction, record: Record, stage: Record) -> int:
    """Octets of buffer that a load takes, as the accelerator counts them."""
    if item.opcode is Opcode.LOAD_WEIGHTS:
        return -(-item.amount // GRANULE) * GRANULE
    flags = Flag(record["flags"])
    result = (8 if flags & Flag.WIDE else 4) + (8 if flags & Flag.LIFTS else 0) + (4 if flags & Flag.KEEPS else 0)
    stored = 4 if stage["opens"] else result
    return -(-(item.amount + stored * item.count) // GRANULE) * GRANULE


def _all_together(
    items: Sequence[Instruction], record: Record, stage: Record, table: OperandTable, party: int
) -> Iterator[Instruction]:
    """Every tile's load, then phase after phase of all tiles, then the stores."""
    sends = Opcode.SEND if party == 0 else Opcode.RECEIVE
    rank = {Opcode.LOAD: 0, Opcode.STORE: 2}

    def place(item: Instruction) -> tuple[int, ...]:
        step = (item.opcode is not sends) if item.opcode in _MESSAGES else 0
        return rank.get(item.opcode, 1), item.phase, step, item.tile

    address = 0
    for item in sorted(items, key=place):
        if item.opcode is Opcode.LOAD:
            yield replace(item, address=address)
            address += _size(item, record, stage)
            if address > table.header["buffer_bytes"]:
                raise Refusal(
                    "an operation does not fit the accelerator's buffer as a whole, and a software party needs it whole"
                )
        else:
            yield item


def _one_by_one(
    items: Sequence[Instruction], record: Record, stage: Record, table: OperandTable, party: int
) -> Iterator[Instruction]:
    """Tile after tile at the start of the buffer, each band of weights at its end before the tiles that use it."""
    tiles = table.sections["tiles"][stage["first_tile"] : stage["first_tile"] + stage["tiles"]]
    held = NO_BAND
    for number, tile in enumerate(tiles):
        if tile["band"] != held:
            held = tile["band"]
            pieces = [item for item in items if item.opcode is Opcode.LOAD_WEIGHTS and item.tile == held]
            pieces.sort(key=lambda item: item.count)
            start = table.header["buffer_bytes"] // GRANULE * GRANULE
            start -= 4 * pieces[-1].count + _size(pieces[-1], record, stage)
            yield from (replace(item, address=start + 4 * item.count) for item in pieces)
        own = [item for item in items if item.tile == number and item.opcode is not Opcode.LOAD_WEIGHTS]
        for item in sorted(own, key=lambda i: (i.opcode is not Opcode.LOAD, i.opcode is Opcode.STORE, i.phase)):
            yield replace(item, address=0)


def _chained(items: Sequence[Instruction]) -> list[Instruction]:
    issued: dict[int, int] = {}
    chained: list[Instruction] = []
    for item in items:
        waits = ((chained[-1].queue, issued[chained[-1].queue]),) if chained else ()
        chained.append(replace(item, waits=waits))
        issued[item.queue] = issued.get(item.queue, 0) + 1
    return chained
