"""What both parties send to make the material of `masked`, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence

from ..program import AnyOperation, ConvOp, LinearOp, MaxPoolOp, Program, ReluOp, SquareOp, TruncateOp
from ..protocols.base import Exchange
from ..protocols.beaver_ot import pool_levels
from ..protocols.beaver_ot_execution import pool_shape
from ..protocols.masked_plan import OperationPlan, plan_masked
from .carries import carry_rounds
from .mask_digits import digit_rounds
from .masked_bits_plan import BitsPlan, plan_bits
from .masked_material import RING_BITS, SIGN_BIT, lift_rounds, select_rounds, wide_square_rounds
from .preparation import linear_material
from .square_material import square_rounds


def masked_rounds(program: Program, images: int) -> Sequence[tuple[Exchange, ...]]:
    """What both parties send, per operation in program order."""
    plans = zip(program.operations, plan_masked(program), plan_bits(program), strict=True)
    return [_rounds(operation, plan, bits, program, images) for operation, plan, bits in plans]


def lift_cuts(dropped: int) -> tuple[int, ...]:
    """Where carries are wanted for lifting a wire without its low bits."""
    return (dropped, SIGN_BIT, RING_BITS) if dropped else (SIGN_BIT, RING_BITS)


def _bits_rounds(plan: BitsPlan, dropped: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What the bits of a lifted wire take."""
    if not plan.digits:
        return carry_rounds(lift_cuts(dropped), elements, images)
    digits = digit_rounds(elements, images) if plan.first else ()
    return (*digits, *carry_rounds((RING_BITS,), elements, images, SIGN_BIT))


def _rounds(
    operation: AnyOperation, plan: OperationPlan, bits: BitsPlan | None, program: Program, images: int
) -> tuple[Exchange, ...]:
    """What both parties send for one operation."""
    elements = program.tensor(operation.inputs[0]).elements
    word_bytes = 8 if plan.wide else 4
    match operation:
        case ConvOp() | LinearOp():
            return linear_material(operation, program).image_rounds(images)
        case TruncateOp() if bits is not None:
            forms = lift_rounds(operation.bits, word_bytes, elements, images)
            return (*_bits_rounds(bits, operation.bits, elements, images), *forms)
        case SquareOp():
            return _square_rounds(plan, bits, _dropped(operation, program), elements, images)
        case ReluOp() if bits is not None:
            digits = digit_rounds(elements, images) if bits.first else ()
            return (*digits, *select_rounds(plan.forms, elements, images))
        case MaxPoolOp():
            levels = pool_levels(pool_shape(operation, program))
            return tuple(
                each for count in levels for each in (*digit_rounds(count, images), *select_rounds(1, count, images))
            )
    return ()


def _square_rounds(
    plan: OperationPlan, bits: BitsPlan | None, dropped: int, elements: int, images: int
) -> tuple[Exchange, ...]:
    lifted: tuple[Exchange, ...] = ()
    if bits is not None:
        lifted = (*_bits_rounds(bits, 0, elements, images), *lift_rounds(0, 8, elements, images))
    if plan.wide:
        return (*lifted, *wide_square_rounds(dropped, elements, images))
    return (*lifted, *square_rounds(elements, images) * plan.forms)


def _dropped(operation: SquareOp, program: Program) -> int:
    """The bits that the truncation that lifted a square's input dropped; none where a square lifts a wire itself."""
    for other, plan in zip(program.operations, plan_masked(program)):
        if isinstance(other, TruncateOp) and not plan.reduces and other.output == operation.inputs[0]:
            return other.bits
    return 0
