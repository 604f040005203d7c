"""`masked`, the fast execution: one opened word per wire, one online ring convolution, dealt one-hot comparison.

Rounds and bytes of the wire format. What an operation opens depends on what was opened before it (`masked_plan`):
`masked_steps` takes that as an argument, and `Masked.phases` prices the usual place of an operator: a convolution, a
truncation or a pooling opens its input, a square or a comparison reads the word that a truncation opened, and the
truncation of a polynomial is local.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ...cost.protocol import Exchange, ProtocolCosts
from ...program import RING_BITS, WORD_BYTES, Program
from ...program.operators import (
    Add,
    Affine,
    AvgPool,
    Conv,
    Linear,
    MaxPool,
    Mul,
    OperatorShape,
    Relu,
    Select,
    Square,
    Truncate,
)
from ..shared.and_chain import MOST_DIGITS, chain_opened, chain_products
from ..shared.and_tree import Levels, and_tree
from ..shared.bit_planes import plane_bytes
from ..shared.digit_planes import DIGIT_BITS
from ..shared.executed import ExecutedProtocol, Step, Work
from ..shared.linear_geometry import weight_setup_bytes
from ..shared.opened_words import OperationPlan
from ..shared.pool_tree import pool_levels
from .plan import plan_masked

#: The two comparisons of an opened word.
ONEHOT, DCF = "onehot", "dcf"
BLOCK_BYTES = 16


def compared_digits(width: int) -> int:
    """Digits of the low bits of an opened word of `width` bits, the lowest of 3 bits and the others of 4."""
    return width // DIGIT_BITS[1]


def onehot_planes(width: int) -> int:
    """Dealt one-hot words of a mask's digits: one plane per value of each digit."""
    return sum(2**bits for bits in DIGIT_BITS[: compared_digits(width)])


def and_levels(width: int) -> Levels:
    """How the leaves of a comparison are joined: those of few digits at once."""
    digits = compared_digits(width)
    if digits <= MOST_DIGITS:
        return ((chain_opened(digits), len(chain_products(digits))),)
    return and_tree(digits)


ONEHOT_PLANES = onehot_planes(RING_BITS)  # 120


def key_blocks(width: int) -> int:
    """Blocks of a comparison key, dealt to both parties: one per level of the tree, whose leaves hold 7 bits."""
    return width - 7


def packed_bytes(elements: int, width: int) -> int:
    """Bytes of one image's words when `width` bits of each are sent."""
    return -(-elements * width // 8)


def _opened(image_elements: int, batch: int, width: int) -> tuple[Step, ...]:
    size = batch * packed_bytes(image_elements, width)
    return Work("alu", "mask", batch * image_elements), Exchange((size, size))


def _opened_together(image_elements: Sequence[int], batch: int, width: int) -> tuple[Step, ...]:
    """Words of several tensors in one round, each tensor's packed on its own."""
    size = batch * sum(packed_bytes(count, width) for count in image_elements)
    return Work("alu", "mask", batch * sum(image_elements)), Exchange((size, size))


def _compare_steps(
    image_elements: int, batch: int, comparison: str, width: int, chosen_elements: int | None = None
) -> tuple[Step, ...]:
    """`onehot`: rounds of AND; `dcf`: an AES block per level of the key. Then the sign.

    `chosen_elements`: of an image, where one sign chooses several.
    """
    elements, planes = batch * image_elements, batch * plane_bytes(image_elements)
    steps: list[Step]
    if comparison == DCF:
        steps = [Work("comparator", "aes", key_blocks(width) * elements)]
    else:
        steps = [Work("comparator", "digits", elements)]
        for opened, _ in and_levels(width):
            steps += [Work("comparator", "and", opened * elements), Exchange((opened * planes, opened * planes))]
    return (
        *steps,
        Work("comparator", "select", elements),
        Exchange((planes, planes)),
        Work("alu", "multiplex", elements if chosen_elements is None else batch * chosen_elements),
    )


def masked_steps(
    shape: OperatorShape, batch: int = 1, plan: OperationPlan | None = None, comparison: str = ONEHOT
) -> tuple[Step, ...]:
    """Local work and rounds of one primitive operation on a batch; without a plan, in its usual place."""
    plan = _usual_place(shape) if plan is None else plan
    opens, width = plan.opens, plan.width
    match shape:
        case Conv() | Linear():
            opening = _opened(shape.input_elements, batch, width) if opens else ()
            return (*opening, Work("array", "product", batch * shape.macs))
        case Square(elements=elements):
            opening = _opened(elements, batch, width) if opens else ()
            return (*opening, Work("alu", "wide square" if plan.wide else "square", batch * elements))
        case Mul(elements=elements, factors=factors):
            opened = [count for count, here in ((elements, opens), (factors, plan.opens_second)) if here]
            product = Work("alu", "multiply", batch * elements)
            return (*_opened_together(opened, batch, width), product) if opened else (product,)
        case Truncate(elements=elements):
            reduction = (Work("alu", "reduce", batch * elements),) if plan.reduces else ()
            if plan.reduces and not opens:
                return reduction
            opening = _opened(elements, batch, width) if opens else ()
            return (*reduction, *opening, Work("alu", "wide truncate" if plan.wide else "truncate", batch * elements))
        case Relu(elements=elements):
            opening = _opened(elements, batch, width) if opens else ()
            return (*opening, *_compare_steps(elements, batch, comparison, width))
        case Select(elements=elements, signs=signs):
            opened = [count for count, here in ((elements, opens), (signs, plan.opens_second)) if here]
            opening = _opened_together(opened, batch, width) if opened else ()
            return (*opening, *_compare_steps(signs, batch, comparison, width, elements))
        case MaxPool():
            steps = _opened(shape.input_elements, batch, width) if opens else ()
            for level, comparisons in enumerate(pool_levels(shape)):
                # later levels open the differences of what the level before selected
                steps += _opened(comparisons, batch, width) if level else ()
                steps += _compare_steps(comparisons, batch, comparison, width)
            return steps
        case AvgPool():
            return (Work("alu", "add", batch * shape.output_elements * shape.kernel[0] * shape.kernel[1]),)
        case Add(elements=elements) | Affine(elements=elements):
            return (Work("alu", "add", batch * elements),)
    raise ValueError(f"{type(shape).__name__} is not a primitive operation of masked")


def _usual_place(shape: OperatorShape) -> OperationPlan:
    match shape:
        case Square():
            return OperationPlan(lifted=True, wide=True)
        case Relu():
            return OperationPlan(lifted=True)
        case Mul():
            return OperationPlan(opens=True, opens_second=True)
        case Select():
            return OperationPlan(lifted=True, opens_second=True)
    return OperationPlan(opens=True)


def masked_offline_bytes(
    shape: OperatorShape, batch: int = 1, plan: OperationPlan | None = None, comparison: str = ONEHOT
) -> tuple[int, int]:
    """Corrections of one primitive operation; without a plan, in its usual place."""
    plan = _usual_place(shape) if plan is None else plan
    word_bytes = 2 * WORD_BYTES if plan.wide_forms else WORD_BYTES
    match shape:
        case Conv() | Linear():
            return 0, WORD_BYTES * batch * shape.output_elements  # r_W ⊗ r_x
        case Square(elements=elements):
            words = plan.forms + (2 if plan.lifts else 0)  # ρ_t², and ρ_t where the square lifts a wire
            return 0, word_bytes * words * batch * elements
        case Mul(elements=elements):
            return 0, WORD_BYTES * batch * elements  # r_x ⊙ r_y
        case Truncate(elements=elements):
            local = plan.reduces and not plan.opens
            return 0, 0 if local else 2 * word_bytes * batch * elements  # ρ_0 and ρ_1
        case Relu(elements=elements):
            keys, corrections = _compare_offline_bytes((elements,), plan.forms, batch, comparison, plan.width)
            lifted = 2 * word_bytes * batch * elements if plan.lifts else 0  # ρ_0 and ρ_1 where it lifts a wire
            return keys, corrections + lifted
        case Select(elements=elements, signs=signs):
            further = WORD_BYTES * plan.forms * batch * (elements - signs)  # r_d·ρ_t of the elements beyond the signs
            keys, corrections = _compare_offline_bytes((signs,), plan.forms, batch, comparison, plan.width)
            return keys, corrections + further
        case MaxPool():
            return _compare_offline_bytes(pool_levels(shape), 1, batch, comparison, plan.width)
    return 0, 0


def _compare_offline_bytes(
    levels: tuple[int, ...], forms: int, batch: int, comparison: str, width: int
) -> tuple[int, int]:
    """Of comparisons that are made level by level: their keys or one-hot words, r_d and r_d·ρ_t."""
    select = WORD_BYTES * sum(levels) * (1 + forms)
    if comparison == DCF:
        keys = BLOCK_BYTES * key_blocks(width) * sum(levels)
        return batch * keys, batch * (keys + select)
    planes = onehot_planes(width) + sum(products for _, products in and_levels(width))
    return 0, batch * (planes * sum(map(plane_bytes, levels)) + select)


class Masked(ExecutedProtocol):
    """Masked wires with dealt preprocessing: the execution to choose for speed.

    Args:
        plan: the place of the operation that is priced; None stands for the usual place of each operator.
    """

    name: ClassVar[str] = "masked"
    words_stay_open: ClassVar[bool] = True
    polynomial_is_local: ClassVar[bool] = True
    comparison: ClassVar[str] = ONEHOT

    def __init__(self, plan: OperationPlan | None = None) -> None:
        self._plan = plan

    def in_place(self, program: Program) -> Mapping[str, ProtocolCosts]:
        plans = zip(program.operations, plan_masked(program), strict=True)
        return {operation.name: type(self)(plan) for operation, plan in plans}

    def steps(self, shape: OperatorShape, batch: int) -> tuple[Step, ...]:
        return masked_steps(shape, batch, self._plan, self.comparison)

    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        first, second = masked_offline_bytes(shape, batch, self._plan, self.comparison)
        if self._plan is None and isinstance(shape, Square):
            # the truncation before it deals its two forms in words twice as long
            second += 2 * WORD_BYTES * batch * shape.elements
        return first, second

    def word_bytes(self) -> tuple[int, int]:
        plan = self._plan
        if plan is None:
            return super().word_bytes()
        loads_wide = plan.reduces or (plan.wide and not (plan.opens or plan.lifted or plan.lifts))
        loaded = (8 if loads_wide else 4) + (4 if plan.wire else 0)  # the inputs' opened words too
        stored = (8 if plan.wide else 4) + (8 if plan.lifts else 0)  # the lifted input's share too
        return loaded, stored + (4 if plan.wire or plan.keeps else 0)

    def setup_bytes(self, shape: OperatorShape) -> tuple[int, int]:
        return weight_setup_bytes(shape)

    def product_input_words(self) -> int:
        return 1  # M


class MaskedDcf(Masked):
    """Masked wires with dealt comparison keys: one round per comparison instead of four, and large material."""

    name: ClassVar[str] = "masked-dcf"
    comparison: ClassVar[str] = DCF
