"""Clock cycles of every step of an executed protocol on the accelerator of `fpga/hls`.

The array's come from its blocks (`array.py`), all others from the bus words that their streams carry (`streaming.py`):
those formulas are checked against verilated modules. Steps that have no Verilog twin (masking, adding, selecting) are
streams of the same kind, with the stages of the nearest twin.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..devices import Accelerator
from ..operators import Conv, Linear, OperatorShape
from .array import conv_cycles
from .streaming import (
    AND_STAGES,
    LEAF_STAGES,
    SQUARE_STAGES,
    TRUNCATE_STAGES,
    WIDE_SQUARE_STAGES,
    aes_cycles,
    elementwise_cycles,
    plane_cycles,
)


@dataclass(frozen=True)
class WordStep:
    """A step on words: bits of the widest stream per element, stages of the unit."""

    word_bits: int
    stages: int


@dataclass(frozen=True)
class PlaneStep:
    """A step on bit planes: planes that pass the unit per counted element, stages of the unit."""

    planes: int
    stages: int


WORD_STEPS: dict[str, WordStep] = {
    "mask": WordStep(32, AND_STAGES),
    "add": WordStep(32, AND_STAGES),
    "subtract": WordStep(32, AND_STAGES),
    "square": WordStep(32, SQUARE_STAGES),
    "wide square": WordStep(64, WIDE_SQUARE_STAGES),
    "truncate": WordStep(32, TRUNCATE_STAGES),
    "wide truncate": WordStep(64, TRUNCATE_STAGES),
    "reduce": WordStep(64, TRUNCATE_STAGES),
    "multiplex": WordStep(32, TRUNCATE_STAGES),
}
PLANE_STEPS: dict[str, PlaneStep] = {
    "choices": PlaneStep(32, AND_STAGES),  # 32 words become 32 planes
    "digits": PlaneStep(120, LEAF_STAGES),  # a plane per value of every digit; the words are split meanwhile
    "leaves": PlaneStep(217, AND_STAGES),  # a plane of messages each
    "and": PlaneStep(2, AND_STAGES),  # masked, then combined; counted in opened planes
    "select": PlaneStep(2, AND_STAGES),
}


def step_cycles(kernel: str, step: str, count: int, shape: OperatorShape, accelerator: Accelerator) -> int:
    """Cycles of one local step: `count` ring multiplications ("array") or elements (all others)."""
    if not count:
        return 0
    if isinstance(shape, Conv | Linear) and kernel == "array":
        return count // shape.macs * conv_cycles(shape, accelerator)
    if step == "aes":
        return aes_cycles(count, accelerator.aes_cores)
    if kernel == "alu":
        word = WORD_STEPS[step]
        return elementwise_cycles(count, accelerator.alu_units, word.word_bits, word.stages)
    plane = PLANE_STEPS[step]
    return plane_cycles(count, plane.planes, accelerator.compare_units, plane.stages)
