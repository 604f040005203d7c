"""The Verilog modules as a table: their streams and pins, from which simulation, synthesis and waveforms are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
BUS_WORDS = 4  # 32-bit words of the 128-bit bus


@dataclass(frozen=True, eq=False)
class RtlModule:
    """A module with valid/ready streams.

    Attributes:
        name: of the module and of its file.
        inputs: streams in, by name: 32-bit words of one transfer.
        output: the one stream out, by name and words.
        pins: configuration inputs of at most 8 bits, constant during a run.
        parts: modules that it is made of.
    """

    name: str
    inputs: dict[str, int]
    output: tuple[str, int]
    pins: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(SOURCES / f"{name}.v" for name in (self.name, *self.parts))


#: The handshake of modules that are one pipeline.
_STAGES = ("stream_stages",)
CONV_TILE = RtlModule(
    "conv_tile", {"cmd": 1, "pix": 2 * BUS_WORDS, "wgt": 2 * BUS_WORDS}, ("sums", BUS_WORDS), parts=("mul32",)
)
BEAVER_SQUARE = RtlModule(
    "beaver_square", dict.fromkeys("eaz", BUS_WORDS), ("r", BUS_WORDS), ("party0", "subtract"), ("mul32", *_STAGES)
)
WIDE_SQUARE = RtlModule(
    "wide_square", dict.fromkeys("eaz", BUS_WORDS), ("r", BUS_WORDS), ("party0",), ("mul_wide", *_STAGES)
)
TRUNCATE = RtlModule(
    "truncate", dict.fromkeys("muv", BUS_WORDS), ("s", BUS_WORDS), ("party0", "dealt_top", "bits"), _STAGES
)
DIGIT_COMPARE = RtlModule("digit_compare", dict.fromkeys("mh", BUS_WORDS), ("leaf", BUS_WORDS), ("digits",))
BIT_AND = RtlModule("bit_and", dict.fromkeys("deabc", BUS_WORDS), ("r", BUS_WORDS), ("party0",), _STAGES)
AES128 = RtlModule("aes128", {"k": BUS_WORDS, "b": BUS_WORDS}, ("s", BUS_WORDS), parts=("aes_round", *_STAGES))

MODULES = (CONV_TILE, BEAVER_SQUARE, WIDE_SQUARE, TRUNCATE, DIGIT_COMPARE, BIT_AND, AES128)
