"""Clock cycles of every step of an executed protocol on the accelerator of `fpga/hls`.

The array's come from its blocks (`array.py`), all others from the bus words that their streams carry (`streaming.py`):
those formulas are checked against verilated modules. Steps that have no Verilog twin (masking, adding, selecting) are
streams of the same kind, with the stages of the nearest twin.

Masks are expanded while a kernel works: a step takes as long as its stream or, where that is longer, as the AES cores
need for the keystream of party 0, which expands most. Kernels that work at the same time share the cores; their waiting
for one another is not counted. Masks of weights: `masked` takes them when weights are loaded, which four cores keep up
with (16 words per cycle against the 12 that memory brings), `beaver-ot` where the array reads them (`product_cycles`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..devices import Accelerator
from ..program.operators import Conv, Linear, OperatorShape
from .array import product_cycles, product_keystream_bits
from .streaming import (
    AND_STAGES,
    BUS_BITS,
    LEAF_STAGES,
    SQUARE_STAGES,
    TRUNCATE_STAGES,
    WIDE_SQUARE_STAGES,
    aes_cycles,
    elementwise_cycles,
    expansion_cycles,
    plane_cycles,
)


@dataclass(frozen=True)
class WordStep:
    """A step on words: bits of the widest stream and of keystream per element, stages of the unit."""

    word_bits: int
    stages: int
    expanded_bits: int = 0


@dataclass(frozen=True)
class PlaneStep:
    """A step on bit planes: planes that pass the unit and planes of keystream per element, stages of the unit."""

    planes: int
    stages: int
    expanded_planes: float = 0


WORD_STEPS: dict[str, WordStep] = {
    "mask": WordStep(32, AND_STAGES, expanded_bits=32),
    "add": WordStep(32, AND_STAGES),
    "subtract": WordStep(32, AND_STAGES),
    "square": WordStep(32, SQUARE_STAGES, expanded_bits=128),  # of masked ρ_0, ρ_1 and their squares
    "wide square": WordStep(64, WIDE_SQUARE_STAGES, expanded_bits=256),
    "multiply": WordStep(32, SQUARE_STAGES, expanded_bits=96),  # priced as if the alu had it: A, B and Z
    "truncate": WordStep(32, TRUNCATE_STAGES, expanded_bits=64),  # ρ_0 and ρ_1, or r >> s and the top bit of r
    "wide truncate": WordStep(64, TRUNCATE_STAGES, expanded_bits=128),
    "reduce": WordStep(64, TRUNCATE_STAGES),
    "multiplex": WordStep(32, TRUNCATE_STAGES, expanded_bits=160),  # of masked r_d, ρ_t, and r_d·ρ_t
}
#: Masks of 11, 5 and 2 opened planes, before and after they are opened, and 7, 3 and 1 dealt products.
AND_EXPANDED_PLANES = 2 + 7 / 11
PLANE_STEPS: dict[str, PlaneStep] = {
    "choices": PlaneStep(32, AND_STAGES, expanded_planes=31),  # 32 words become 32 planes
    # a plane per value of every digit; the words are split meanwhile
    "digits": PlaneStep(120, LEAF_STAGES, expanded_planes=120),
    "leaves": PlaneStep(217, AND_STAGES, expanded_planes=232),  # a plane of messages each
    "and": PlaneStep(2, AND_STAGES, AND_EXPANDED_PLANES),  # masked, then combined; counted in opened planes
    "select": PlaneStep(2, AND_STAGES, expanded_planes=1),
}


def step_cycles(kernel: str, step: str, count: int, shape: OperatorShape, accelerator: Accelerator) -> int:
    """Cycles of one local step: `count` ring multiplications ("array") or elements (all others)."""
    if not count:
        return 0
    if isinstance(shape, Conv | Linear) and kernel == "array":
        return product_cycles(shape, count // shape.macs, accelerator)
    if step == "aes":
        return aes_cycles(count, accelerator.aes_cores)
    expansion = expansion_cycles(keystream_bits(kernel, step, count, shape), accelerator.aes_cores)
    if kernel == "alu":
        word = WORD_STEPS[step]
        return max(expansion, elementwise_cycles(count, accelerator.alu_units, word.word_bits, word.stages))
    plane = PLANE_STEPS[step]
    return max(expansion, plane_cycles(count, plane.planes, accelerator.compare_units, plane.stages))


def keystream_bits(kernel: str, step: str, count: int, shape: OperatorShape) -> float:
    """Bits that the AES cores make for one local step, as `step_cycles` counts it."""
    if step == "aes":
        return BUS_BITS * count
    if isinstance(shape, Conv | Linear) and kernel == "array":
        return (count // shape.macs - 1) * product_keystream_bits(shape)
    if kernel == "alu":
        return WORD_STEPS[step].expanded_bits * count
    return PLANE_STEPS[step].expanded_planes * BUS_BITS * -(-count // BUS_BITS)
