"""The accelerator's operand table: what the instructions work on. One table makes encoder, decoder, header.

An instruction names an operation, a tile and a phase; `operands.bin` says the rest, all of it public: geometry, public
coefficients, where tensors, opened words, weights and the dealer's corrections lie in the board's memory, and the
regions of the tiles. Memory addresses count bus words of 16 bytes. The file is a header, then the records of each
section in the order of `SECTIONS`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from rrnet_nni.base.errors import Refusal

MAGIC = b"RRNETOPD"
VERSION = 3
BUS_BYTES = 16
NO_BAND = 0xFFFFFFFF
#: Name, C type and struct code of a field, and what it means.
Field = tuple[str, str, str, str]

HEADER_FIELDS: tuple[Field, ...] = (
    ("magic", "char[8]", "8s", "RRNETOPD"),
    ("version", "uint16_t", "H", "of this table"),
    ("protocol", "uint16_t", "H", "see rrnet_protocol"),
    ("crc32", "uint32_t", "I", "of all records (zlib)"),
    ("program_digest", "uint8_t[12]", "12s", "the same as in instructions.bin"),
    ("buffer_bytes", "uint32_t", "I", "on-chip buffer that the schedule was made for"),
    ("memory_words", "uint32_t", "I", "bus words of shares and weights"),
    ("material_words", "uint32_t", "I", "bus words of the dealer's corrections of one image"),
    ("input", "uint32_t", "I", "address of the image's share"),
    ("input_words", "uint32_t", "I", "32-bit words of it"),
    ("output", "uint32_t", "I", "address of the result's share"),
    ("output_words", "uint32_t", "I", "32-bit words of it"),
    ("operations", "uint32_t", "I", "records of each section"),
    ("inputs", "uint32_t", "I", ""),
    ("stages", "uint32_t", "I", ""),
    ("tiles", "uint32_t", "I", ""),
    ("bands", "uint32_t", "I", ""),
    ("coefficients", "uint32_t", "I", ""),
)
OPERATION_FIELDS: tuple[Field, ...] = (
    ("kind", "uint8_t", "B", "see rrnet_kind"),
    ("bits", "uint8_t", "B", "fraction bits that a truncation drops"),
    ("flags", "uint16_t", "H", "see rrnet_flag"),
    ("groups", "uint32_t", "I", "of a convolution, else 1"),
    *((name, "uint32_t", "I", "of the first input") for name in ("channels", "height", "width")),
    *((name, "uint32_t", "I", "of the output") for name in ("out_channels", "out_height", "out_width")),
    *((name, "uint16_t", "H", "") for name in ("kernel_h", "kernel_w", "stride_h", "stride_w")),
    *((name, "uint16_t", "H", "") for name in ("pad_top", "pad_left", "pad_bottom", "pad_right")),
    ("first_input", "uint32_t", "I", "index into the inputs"),
    ("inputs", "uint32_t", "I", "how many"),
    ("first_stage", "uint32_t", "I", "index into the stages"),
    ("stages", "uint32_t", "I", "how many"),
    ("first_coefficient", "uint32_t", "I", "affine: per input one multiplier a channel, then one addend a channel"),
    ("output", "uint32_t", "I", "address of the output's share"),
    ("opened", "uint32_t", "I", "address of the opened input (beaver-ot: E, masked: M), local: of the opened result"),
    ("weights", "uint32_t", "I", "product: address of the opened weights, [out, in / groups, kh, kw]"),
    ("bias", "uint32_t", "I", "product: address of this party's share of the bias"),
    ("corrections", "uint32_t", "I", "address in the material"),
    ("corrections_bytes", "uint32_t", "I", "bytes that party 1 has there"),
    (
        "prepared",
        "uint32_t",
        "I",
        "masked: address of a product's offline part, an open input's mask share, or the share that a square lifts",
    ),
    ("producer", "uint32_t", "I", "masked: the operation that brought a lifted input into that form"),
)
INPUT_FIELDS: tuple[Field, ...] = (
    ("address", "uint32_t", "I", "of this party's share"),
    ("opened", "uint32_t", "I", "masked: address of the opened words that a local operation hands on"),
    *((name, "uint32_t", "I", "") for name in ("channels", "height", "width")),
)
STAGE_FIELDS: tuple[Field, ...] = (
    ("operation", "uint32_t", "I", "index into the operations"),
    ("first_phase", "uint16_t", "H", "phases [first_phase, end_phase) of the protocol"),
    ("end_phase", "uint16_t", "H", ""),
    ("opens", "uint32_t", "I", "1: the tiles are of the input, which is opened; 0: of the output"),
    ("first_tile", "uint32_t", "I", "index into the tiles"),
    ("tiles", "uint32_t", "I", "how many"),
    ("first_band", "uint32_t", "I", "index into the bands"),
    ("bands", "uint32_t", "I", "how many; the tile of LOAD_WEIGHTS counts them"),
)
TILE_FIELDS: tuple[Field, ...] = (
    *((name, "uint32_t", "I", "") for name in ("channel_begin", "channel_end", "row_begin", "row_end")),
    ("band", "uint32_t", "I", "band of weights, counted from the stage's first; all ones: none"),
)
BAND_FIELDS: tuple[Field, ...] = tuple((name, "uint32_t", "I", "") for name in ("channel_begin", "channel_end"))
COEFFICIENT_FIELDS: tuple[Field, ...] = (("word", "uint32_t", "I", "modulo 2^32"),)

#: Sections after the header, in order: name of the count, C name of the record, fields.
SECTIONS: tuple[tuple[str, str, tuple[Field, ...]], ...] = (
    ("operations", "rrnet_operation", OPERATION_FIELDS),
    ("inputs", "rrnet_input", INPUT_FIELDS),
    ("stages", "rrnet_stage", STAGE_FIELDS),
    ("tiles", "rrnet_tile", TILE_FIELDS),
    ("bands", "rrnet_band", BAND_FIELDS),
    ("coefficients", "rrnet_coefficient", COEFFICIENT_FIELDS),
)


class Kind(IntEnum):
    """Operators, by the `kind` of their class in program.json."""

    CONV = 1
    LINEAR = 2
    SQUARE = 3
    AFFINE = 4
    RELU = 5
    MAXPOOL = 6
    SUMPOOL = 7
    TRUNCATE = 8
    RESHAPE = 9
    CONCAT = 10
    PAD = 11


class ProtocolNumber(IntEnum):
    """Protocols that the accelerator can be told to follow."""

    BEAVER_OT = 1
    MASKED = 2
    MASKED_DCF = 3


class Flag(IntFlag):
    """Properties of an operation."""

    BIAS = 1
    DEPTHWISE = 2
    #: Of `masked`: the operation opens its input; its input is read in the lifted form; its output is a wide share; it
    #: brings its input into the lifted form; it drops bits of a wide share; the words that it opens, or those of its
    #: result, are kept with the result.
    OPENS = 4
    LIFTED = 8
    WIDE = 16
    LIFTS = 32
    REDUCES = 64
    KEEPS = 128


def _struct(fields: Iterable[Field]) -> struct.Struct:
    return struct.Struct("<" + "".join(code for _, _, code, _ in fields))


HEADER = _struct(HEADER_FIELDS)
RECORDS = {name: _struct(fields) for name, _, fields in SECTIONS}
Record = dict[str, int]


@dataclass(frozen=True)
class OperandTable:
    """A whole table: header values that are not counts, magic or checksum, and the records of every section."""

    header: Mapping[str, int]
    program_digest: bytes
    sections: Mapping[str, Sequence[Record]] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The whole of operands.bin."""
        body = b"".join(
            RECORDS[name].pack(*(record[entry[0]] for entry in fields))
            for name, _, fields in SECTIONS
            for record in self.sections[name]
        )
        values = {
            **self.header,
            **{name: len(self.sections[name]) for name, _, _ in SECTIONS},
            "magic": MAGIC,
            "version": VERSION,
            "crc32": zlib.crc32(body),
            "program_digest": self.program_digest[:12],
        }
        return HEADER.pack(*(values[name] for name, *_ in HEADER_FIELDS)) + body


def decode_operands(data: bytes, where: str = "operands.bin") -> OperandTable:
    """Read operands.bin back.

    Raises:
        Refusal: another magic or version, another length than the counts say, or a wrong checksum.
    """
    if len(data) < HEADER.size:
        raise Refusal(f"{where}: {len(data)} bytes are too few for a header")
    header = dict(zip((name for name, *_ in HEADER_FIELDS), HEADER.unpack_from(data)))
    if header.pop("magic") != MAGIC:
        raise Refusal(f"{where} does not hold an operand table")
    if (version := header.pop("version")) != VERSION:
        raise Refusal(f"{where}: version {version}, expected {VERSION}")
    expected = HEADER.size + sum(header[name] * RECORDS[name].size for name in RECORDS)
    if len(data) != expected:
        raise Refusal(f"{where}: {len(data)} bytes, its counts say {expected}")
    if zlib.crc32(data[HEADER.size :]) != header.pop("crc32"):
        raise Refusal(f"{where} is damaged: its checksum does not match")
    digest = header.pop("program_digest")
    position, sections = HEADER.size, {}
    for name, _, fields in SECTIONS:
        end = position + header.pop(name) * RECORDS[name].size
        names = [entry[0] for entry in fields]
        sections[name] = [dict(zip(names, values)) for values in RECORDS[name].iter_unpack(data[position:end])]
        position = end
    return OperandTable(header, digest, sections)


def c_header() -> str:
    """The same table for the accelerator: fpga/hls/rrnet_operands.h."""
    lines = [
        "// Operands of the accelerator. Generated from fpga/program/operands.py",
        "// (python -m rrnet_nni.fpga.program.operands); do not edit.",
        "#ifndef RRNET_OPERANDS_H",
        "#define RRNET_OPERANDS_H",
        "#include <stdint.h>",
        "",
        f'#define RRNET_OPERANDS_MAGIC "{MAGIC.decode()}"',
        f"#define RRNET_OPERANDS_VERSION {VERSION}",
        f"#define RRNET_OPERANDS_HEADER_BYTES {HEADER.size}",
        f"#define RRNET_BUS_BYTES {BUS_BYTES}",
        f"#define RRNET_NO_BAND {NO_BAND:#x}u",
        "",
    ]
    for name, prefix, members in (
        ("rrnet_kind", "RRNET_KIND", Kind),
        ("rrnet_protocol", "RRNET_PROTOCOL", ProtocolNumber),
        ("rrnet_flag", "RRNET_FLAG", Flag),
    ):
        lines += [f"enum {name} {{", *(f"    {prefix}_{member.name} = {member.value}," for member in members), "};", ""]
    lines += [
        "// Little-endian, without padding, at the start of the file; then the sections in the order of the counts."
    ]
    lines += _c_struct("rrnet_operands_header", HEADER_FIELDS)
    for _, name, fields in SECTIONS:
        lines += _c_struct(name, fields)
    return "\n".join([*lines, "#endif", ""])


def _c_struct(name: str, fields: Sequence[Field]) -> list[str]:
    lines = ["typedef struct {"]
    for entry, c_type, _, meaning in fields:
        base, bracket, size = c_type.partition("[")
        lines.append(f"    {base} {entry}{bracket}{size};" + (f"  // {meaning}" if meaning else ""))
    return [*lines, f"}} {name};", ""]


if __name__ == "__main__":
    print(c_header(), end="")
