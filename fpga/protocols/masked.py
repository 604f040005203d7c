"""`masked`, the fast execution: one opened word per wire, one online ring convolution, dealt one-hot comparison.

Rounds and bytes of the wire format. What an operation opens depends on what was opened before it (`masked_plan`):
`masked_steps` takes that as an argument, and `Masked.phases` prices the usual place of an operator: a convolution, a
truncation or a pooling opens its input, a square or a comparison reads the word that a truncation opened, and the
truncation of a polynomial is local.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..operators import (
    Add,
    Affine,
    AvgPool,
    Conv,
    Linear,
    MaxPool,
    OperatorShape,
    Relu,
    Square,
    Truncate,
)
from ..program import Program
from .base import Exchange, Protocol
from .beaver_ot import (
    AND_GATES,
    AND_OPENED_PLANES,
    DIGIT_BITS,
    WORD_BYTES,
    beaver_ot_setup_bytes,
    plane_bytes,
    pool_levels,
)
from .executed import ExecutedProtocol, Step, Work
from .masked_plan import OperationPlan, plan_masked

#: Dealt one-hot words of a mask's digits: one plane per value of each digit.
ONEHOT_PLANES = sum(2**bits for bits in DIGIT_BITS)  # 120


def _opened(elements: int) -> tuple[Step, ...]:
    return Work("alu", "mask", elements), Exchange((WORD_BYTES * elements, WORD_BYTES * elements))


def _compare_steps(image_elements: int, batch: int) -> tuple[Step, ...]:
    """Three levels of AND, then the masked sign."""
    elements, planes = batch * image_elements, batch * plane_bytes(image_elements)
    steps: list[Step] = [Work("comparator", "digits", elements)]
    for opened in AND_OPENED_PLANES:
        steps += [Work("comparator", "and", opened * elements), Exchange((opened * planes, opened * planes))]
    return (
        *steps,
        Work("comparator", "select", elements),
        Exchange((planes, planes)),
        Work("alu", "multiplex", elements),
    )


def masked_steps(shape: OperatorShape, batch: int = 1, plan: OperationPlan | None = None) -> tuple[Step, ...]:
    """Local work and rounds of one primitive operation on a batch; without a plan, in its usual place."""
    plan = _usual_place(shape) if plan is None else plan
    opens = plan.opens
    match shape:
        case Conv() | Linear():
            opening = _opened(batch * shape.input_elements) if opens else ()
            return (*opening, Work("array", "product", batch * shape.macs))
        case Square(elements=elements):
            opening = _opened(batch * elements) if opens else ()
            return (*opening, Work("alu", "wide square" if plan.wide else "square", batch * elements))
        case Truncate(elements=elements):
            if plan.reduces:
                return (Work("alu", "reduce", batch * elements),)
            opening = _opened(batch * elements) if opens else ()
            return (*opening, Work("alu", "wide truncate" if plan.wide else "truncate", batch * elements))
        case Relu(elements=elements):
            opening = _opened(batch * elements) if opens else ()
            return (*opening, *_compare_steps(elements, batch))
        case MaxPool():
            steps = _opened(batch * shape.input_elements) if opens else ()
            for level, comparisons in enumerate(pool_levels(shape)):
                # later levels open the differences of what the level before selected
                steps += _opened(batch * comparisons) if level else ()
                steps += _compare_steps(comparisons, batch)
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
    return OperationPlan(opens=True)


def masked_offline_bytes(shape: OperatorShape, batch: int = 1, plan: OperationPlan | None = None) -> tuple[int, int]:
    """Corrections of one primitive operation; without a plan, in its usual place."""
    plan = _usual_place(shape) if plan is None else plan
    word_bytes = 2 * WORD_BYTES if plan.wide else WORD_BYTES
    match shape:
        case Conv() | Linear():
            return 0, WORD_BYTES * batch * shape.output_elements  # r_W ⊗ r_x
        case Square(elements=elements):
            words = plan.forms + (2 if plan.lifts else 0)  # ρ_t², and ρ_t where the square lifts a wire
            return 0, word_bytes * words * batch * elements
        case Truncate(elements=elements):
            return 0, 0 if plan.reduces else 2 * word_bytes * batch * elements  # ρ_0 and ρ_1
        case Relu(elements=elements):
            return 0, batch * _compare_offline_bytes(elements, plan.forms)
        case MaxPool():
            return 0, batch * sum(_compare_offline_bytes(comparisons, 1) for comparisons in pool_levels(shape))
    return 0, 0


def _compare_offline_bytes(elements: int, forms: int) -> int:
    planes = ONEHOT_PLANES + sum(AND_GATES)
    return planes * plane_bytes(elements) + WORD_BYTES * elements * (1 + forms)  # r_d and r_d·ρ_t


class Masked(ExecutedProtocol):
    """Masked wires with dealt preprocessing: the execution to choose for speed.

    Args:
        plan: the place of the operation that is priced; None stands for the usual place of each operator.
    """

    name: ClassVar[str] = "masked"
    polynomial_is_local: ClassVar[bool] = True

    def __init__(self, plan: OperationPlan | None = None) -> None:
        self._plan = plan

    def in_place(self, program: Program) -> Mapping[str, Protocol]:
        plans = zip(program.operations, plan_masked(program), strict=True)
        return {operation.name: Masked(plan) for operation, plan in plans}

    def steps(self, shape: OperatorShape, batch: int) -> tuple[Step, ...]:
        return masked_steps(shape, batch, self._plan)

    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        first, second = masked_offline_bytes(shape, batch, self._plan)
        if self._plan is None and isinstance(shape, Square):
            # the truncation before it deals its two forms in words twice as long
            second += 2 * WORD_BYTES * batch * shape.elements
        return first, second

    def setup_bytes(self, shape: OperatorShape) -> tuple[int, int]:
        return beaver_ot_setup_bytes(shape)
