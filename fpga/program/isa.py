"""The accelerator's instructions: one table makes the encoder, the decoder and the C header.

Both boards fetch the same file. Every instruction belongs to one of seven queues; a queue executes in order. An
instruction starts when its queue is free and every wait holds: a wait (queue, n) holds once that queue has completed
n instructions. A message completes when it has arrived. SEND is what party 0 sends and party 1 receives, RECEIVE the
other direction: party 1 swaps the two.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from rrnet_nni.base.errors import Refusal

MAGIC = b"RRNET2PC"
VERSION = 1
HEADER = struct.Struct("<8sHHII12s")
WAITS = 3
COUNT_BITS = 28
#: Name, C type and struct code of every field, in order: 32 bytes.
FIELDS: tuple[tuple[str, str, str, str], ...] = (
    ("opcode", "uint8_t", "B", "what to do; see rrnet_opcode"),
    ("queue", "uint8_t", "B", "which queue executes it; see rrnet_queue"),
    ("operation", "uint16_t", "H", "index into the operations of program.json"),
    ("tile", "uint16_t", "H", "tile of the operation's stage"),
    ("phase", "uint16_t", "H", "phase of the protocol that this is part of"),
    *(
        (f"wait{i}", "uint32_t", "I", "queue in the upper 4 bits, completed instructions below; 0: none")
        for i in range(WAITS)
    ),
    ("amount", "uint32_t", "I", "clock cycles of a computation, bytes of a transfer"),
    ("address", "uint32_t", "I", "byte address of the tile's buffer on the chip"),
    ("count", "uint32_t", "I", "elements of the tile; of weights the first word of the piece in its band"),
)
INSTRUCTION = struct.Struct("<" + "".join(code for _, _, code, _ in FIELDS))


class Opcode(IntEnum):
    """What an instruction does."""

    WAIT = 0
    LOAD = 1
    STORE = 2
    ARRAY = 3
    COMPARE = 4
    ALU = 5
    SEND = 6
    RECEIVE = 7
    LOAD_WEIGHTS = 8


class Queue(IntEnum):
    """The units that work at the same time, each in order."""

    LOAD = 0
    STORE = 1
    ARRAY = 2
    COMPARATOR = 3
    ALU = 4
    SEND = 5
    RECEIVE = 6


QUEUE_OPCODE = {
    Queue.LOAD: Opcode.LOAD,
    Queue.STORE: Opcode.STORE,
    Queue.ARRAY: Opcode.ARRAY,
    Queue.COMPARATOR: Opcode.COMPARE,
    Queue.ALU: Opcode.ALU,
    Queue.SEND: Opcode.SEND,
    Queue.RECEIVE: Opcode.RECEIVE,
}


def opcodes_of(queue: Queue) -> tuple[Opcode, ...]:
    """What a queue can execute."""
    weights = (Opcode.LOAD_WEIGHTS,) if queue is Queue.LOAD else ()
    return (Opcode.WAIT, QUEUE_OPCODE[queue], *weights)


@dataclass(slots=True)  # and not frozen: a program has tens of thousands, which are made three times as fast
class Instruction:
    """One instruction; `waits` are (queue, completed instructions)."""

    opcode: Opcode
    queue: Queue
    operation: int = 0
    tile: int = 0
    phase: int = 0
    waits: tuple[tuple[Queue, int], ...] = ()
    amount: int = 0
    address: int = 0
    count: int = 0


def encode_instructions(instructions: Sequence[Instruction], program_digest: bytes = b"") -> bytes:
    """The whole of instructions.bin; `program_digest` ties it to its program (12 bytes are kept).

    Raises:
        Refusal: an instruction has a number that its field does not hold, on a very slow or large device.
    """
    try:
        body = b"".join(_encode(instruction) for instruction in instructions)
    except struct.error as error:
        longest = max(instructions, key=lambda item: max(item.amount, item.address, item.count, item.tile))
        raise Refusal(
            f"operation {longest.operation} of the program has an instruction of {longest.amount} cycles or bytes at "
            f"buffer address {longest.address}, more than an instruction's fields hold; is the device described right?"
        ) from error
    digest = program_digest[:12].ljust(12, b"\0")
    return HEADER.pack(MAGIC, VERSION, INSTRUCTION.size, len(instructions), zlib.crc32(body), digest) + body


def decode_instructions(data: bytes, where: str = "instructions.bin") -> list[Instruction]:
    """Read instructions.bin back.

    Raises:
        Refusal: another magic, version or size, a wrong checksum, or an instruction that means nothing.
    """
    if len(data) < HEADER.size:
        raise Refusal(f"{where}: {len(data)} bytes are too few for a header")
    magic, version, size, count, checksum, _ = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise Refusal(f"{where} does not hold instructions")
    if (version, size) != (VERSION, INSTRUCTION.size):
        raise Refusal(f"{where}: version {version} with {size} bytes an instruction, expected {VERSION} with 32")
    body = data[HEADER.size :]
    if len(body) != count * size:
        raise Refusal(f"{where}: {len(body)} bytes after the header, expected {count} instructions of {size}")
    if zlib.crc32(body) != checksum:
        raise Refusal(f"{where} is damaged: its checksum does not match")
    return [_decode(fields, index, where) for index, fields in enumerate(INSTRUCTION.iter_unpack(body))]


def _encode(instruction: Instruction) -> bytes:
    if len(instruction.waits) > WAITS:
        raise ValueError(f"{len(instruction.waits)} waits do not fit an instruction")
    waits = [int(queue) << COUNT_BITS | completed for queue, completed in instruction.waits]
    return INSTRUCTION.pack(
        instruction.opcode,
        instruction.queue,
        instruction.operation,
        instruction.tile,
        instruction.phase,
        *waits,
        *(0,) * (WAITS - len(waits)),
        instruction.amount,
        instruction.address,
        instruction.count,
    )


def _decode(fields: tuple[int, ...], index: int, where: str) -> Instruction:
    opcode, queue, operation, tile, phase = fields[:5]
    waits = [field for field in fields[5 : 5 + WAITS] if field]
    if opcode not in Opcode._value2member_map_ or queue not in Queue._value2member_map_:
        raise Refusal(f"{where}: instruction {index} has the unknown opcode {opcode} or queue {queue}")
    if Opcode(opcode) not in opcodes_of(Queue(queue)):
        raise Refusal(f"{where}: instruction {index} is {Opcode(opcode).name} on queue {Queue(queue).name}")
    if any(wait >> COUNT_BITS not in Queue._value2member_map_ for wait in waits):
        raise Refusal(f"{where}: instruction {index} waits for an unknown queue")
    decoded = tuple((Queue(wait >> COUNT_BITS), wait & ((1 << COUNT_BITS) - 1)) for wait in waits)
    return Instruction(Opcode(opcode), Queue(queue), operation, tile, phase, decoded, *fields[5 + WAITS :])


def c_header() -> str:
    """The same table for the accelerator: fpga/hls/rrnet_isa.h."""
    lines = [
        "// Instructions of the accelerator. Generated from fpga/program/isa.py",
        "// (python -m rrnet_nni.fpga.program.isa); do not edit.",
        "#ifndef RRNET_ISA_H",
        "#define RRNET_ISA_H",
        "#include <stdint.h>",
        "",
        f"#define RRNET_ISA_VERSION {VERSION}",
        f"#define RRNET_INSTRUCTION_BYTES {INSTRUCTION.size}",
        f"#define RRNET_HEADER_BYTES {HEADER.size}",
        f'#define RRNET_MAGIC "{MAGIC.decode()}"',
        f"#define RRNET_WAITS {WAITS}",
        f"#define RRNET_WAIT_COUNT_BITS {COUNT_BITS}",
        "",
    ]
    lines += _c_enum("rrnet_opcode", "RRNET_OP", Opcode) + _c_enum("rrnet_queue", "RRNET_QUEUE", Queue)
    lines += ["// Little-endian, at the start of the file.", "typedef struct {", "    char magic[8];"]
    lines += ["    uint16_t version;", "    uint16_t instruction_bytes;", "    uint32_t count;"]
    lines += [
        "    uint32_t crc32;  // of all instructions (zlib)",
        "    uint8_t program_digest[12];",
        "} rrnet_header;",
        "",
    ]
    lines += ["// Little-endian, without padding.", "typedef struct {"]
    lines += [f"    {c_type} {name};  // {meaning}" for name, c_type, _, meaning in FIELDS]
    lines += ["} rrnet_instruction;", "", "#endif", ""]
    return "\n".join(lines)


def _c_enum(name: str, prefix: str, members: Iterable[IntEnum]) -> list[str]:
    return [f"enum {name} {{", *(f"    {prefix}_{member.name} = {member.value}," for member in members), "};", ""]


if __name__ == "__main__":
    print(c_header(), end="")
