"""What both parties send to make the material of `masked`, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence

from ....cost.protocol import Exchange
from ....program import (
    AnyOperation,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    MulOp,
    Program,
    ReluOp,
    SelectOp,
    SquareOp,
    TruncateOp,
)
from ...shared.lattice.modulus import Modulus
from ...shared.oblivious_transfer.carries import carry_rounds
from ...shared.opened_words import OperationPlan
from ...shared.pool_tree import pool_levels, pool_shape
from ...shared.preparation import linear_material
from ...shared.square_material import mul_rounds, square_rounds
from ..plan import plan_masked
from .bits_material import lift_rounds, select_rounds, wide_square_rounds
from .bits_plan import BitsPlan, plan_bits
from .mask_digits import digit_rounds


def masked_rounds(program: Program, images: int, modulus: Modulus) -> Sequence[tuple[Exchange, ...]]:
    """What both parties send, per operation in program order."""
    plans = zip(program.operations, plan_masked(program), plan_bits(program), strict=True)
    return [_rounds(operation, plan, bits, program, images, modulus) for operation, plan, bits in plans]


def lift_cuts(width: int, dropped: int) -> tuple[int, ...]:
    """Where carries are wanted for lifting a wire without its low bits."""
    return (dropped, width - 1, width) if dropped else (width - 1, width)


def _rounds(
    operation: AnyOperation,
    plan: OperationPlan,
    bits: BitsPlan | None,
    program: Program,
    images: int,
    modulus: Modulus,
) -> tuple[Exchange, ...]:
    """What both parties send for one operation."""
    elements = program.tensor(operation.inputs[0]).elements
    lifted = _lift_rounds(plan, bits, elements, images) if bits is not None else ()
    match operation:
        case ConvOp() | LinearOp():
            return linear_material(operation, program, modulus).image_rounds(images)
        case MulOp():
            return mul_rounds(elements, images)
        case TruncateOp():
            return lifted
        case SquareOp() if plan.wide:
            width, dropped = _lifted_word(operation, program)
            return (*lifted, *wide_square_rounds(width, dropped, elements, images))
        case SquareOp():
            return (*lifted, *square_rounds(elements, images) * plan.forms)
        case ReluOp() if bits is not None:
            digits = digit_rounds(bits.width, elements, images) if bits.first and not bits.lifts else ()
            return (*lifted, *digits, *select_rounds(bits.width, plan.forms, elements, images))
        case SelectOp() if bits is not None:
            signs = program.tensor(operation.inputs[1]).elements
            digits = digit_rounds(bits.width, signs, images) if bits.first else ()
            return (*digits, *select_rounds(bits.width, plan.forms, elements, images, signs))
        case MaxPoolOp():
            return tuple(
                each
                for count in pool_levels(pool_shape(operation, program))
                for each in (*digit_rounds(plan.width, count, images), *select_rounds(plan.width, 1, count, images))
            )
    return ()


def _lift_rounds(plan: OperationPlan, bits: BitsPlan, elements: int, images: int) -> tuple[Exchange, ...]:
    """What the bits of a lifted word and its forms take."""
    if not bits.lifts:
        return ()
    width = bits.width
    if bits.digits:
        digits = digit_rounds(width, elements, images) if bits.first else ()
        carries = (*digits, *carry_rounds((width,), elements, images, width - 1))
    else:
        carries = carry_rounds(lift_cuts(width, bits.dropped), elements, images)
    return (*carries, *lift_rounds(width, bits.dropped, 8 if plan.wide_forms else 4, elements, images))


def _lifted_word(operation: SquareOp, program: Program) -> tuple[int, int]:
    """Bits of the word that gave a square's input its lifted form, and how many of them were dropped."""
    name = operation.inputs[0]
    for other, bits in zip(program.operations, plan_bits(program)):
        lifted = other.output if isinstance(other, TruncateOp) else other.inputs[0]
        if bits is not None and bits.lifts and lifted == name:
            return bits.width, bits.dropped
    raise ValueError(f"{name} is not lifted")
