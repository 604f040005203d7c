"""A ring for every tensor: on how many bits a protocol may open it.

A tensor whose words stay, with headroom, below 2^(w−2) may be opened on w bits (`Tensor.ring_bits`). The range is what
calibration saw; between the graph's tensors it follows from the operations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ...program import (
    RING_BITS,
    AffineOp,
    AnyOperation,
    ConcatOp,
    MaxPoolOp,
    PadOp,
    PickOp,
    Program,
    ReluOp,
    ReshapeOp,
    SelectOp,
    SumPoolOp,
)
from .formats import HEADROOM, shifted_reach

#: What `--ring` takes.
NARROW, WHOLE = "narrow", "32"
RINGS = NARROW, WHOLE
#: Rings are chosen in steps of a comparison's digit.
LEAST_RING_BITS, STEP = 8, 4
#: Roundings add less than this many units to a word.
ROUNDING_UNITS = 2


def narrow_rings(program: Program, seen: Mapping[str, float]) -> Program:
    """The program with the smallest ring for every tensor whose range is known.

    Args:
        program: from `lower`.
        seen: largest absolute value of the graph's tensors, without headroom.
    """
    reach = {name: HEADROOM * value * 2.0 ** program.tensor(name).fraction_bits for name, value in seen.items()
             if name in program.tensors}  # fmt: skip
    for operation in program.operations:
        if operation.output not in reach and reach.keys() >= set(operation.inputs):
            found = _reach(operation, [reach[name] for name in operation.inputs])
            if found is not None:
                reach[operation.output] = found
    tensors = {
        name: replace(tensor, ring_bits=ring_for(reach[name])) if name in reach else tensor
        for name, tensor in program.tensors.items()
    }
    return replace(program, tensors=tensors)


def ring_for(reach: float) -> int:
    """The smallest ring for words of at most this size; 32 where none is smaller."""
    bits = math.log2(reach + ROUNDING_UNITS) + 2
    return min(RING_BITS, max(LEAST_RING_BITS, math.ceil(bits / STEP) * STEP))


def _reach(operation: AnyOperation, inputs: list[float]) -> float | None:
    """How far the words of a result may go, where that follows from those of the inputs."""
    match operation:
        case AffineOp():
            rows = zip(operation.multipliers, inputs)
            return shifted_reach(
                sum(max(map(abs, row)) * value for row, value in rows), max(map(abs, operation.addend))
            )
        case SumPoolOp():
            return inputs[0] * operation.kernel[0] * operation.kernel[1]
        case SelectOp():
            return inputs[0]
        case ReluOp() | MaxPoolOp() | ReshapeOp() | ConcatOp() | PadOp() | PickOp():
            return max(inputs)
    return None
