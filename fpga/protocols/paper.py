"""The comparison flow that RRNet's latency model assumes: a cost model to compare with the paper, never executed.

Reconstructed from the totals of Fig. 3(b), whose text does not print the model. One message goes one way at a time, so
that every opening takes two. A 32-bit comparison is cut into 16 digits of two bits, each a (1,4)-OT in a 32-bit group
(which hides nothing from an attacker of today: one more reason not to execute it). Truncation is not counted.
"""

from __future__ import annotations

from ..cost.kernels import WORD_BYTES, alu_compute, array_compute, comparator_compute
from ..cost.protocol import Exchange, Phase, ProtocolCosts
from ..devices import Device
from ..program.operators import (
    Add,
    Affine,
    AvgPool,
    Conv,
    Linear,
    MaxPool,
    Mul,
    OperatorShape,
    PatchRelu,
    Relu,
    Relu6,
    Select,
    Square,
    Truncate,
    X2act,
    comparison_count,
)
from .descriptor import ProtocolDescriptor

RING_BITS = 32
DIGITS = 16  # of two bits each
TABLE = 4  # entries of one (1,4)-OT
#: Eq. 2 as printed: E ⊗ F, X ⊗ F and E ⊗ Y.
CONV_PRODUCTS = 3


class PaperProtocol(ProtocolCosts):
    """Beaver products as printed in Eq. 2 and Eq. 3, comparison by (1,4)-OT per two-bit digit."""

    name = "paper"
    executable = False

    def primitives(self, shape: OperatorShape) -> tuple[OperatorShape, ...]:
        return (shape,)

    def phases(self, shape: OperatorShape, device: Device, batch: int = 1) -> tuple[Phase, ...]:
        match shape:
            case Conv() | Linear():
                return (
                    *_opening(batch * shape.input_elements),
                    array_compute(shape, CONV_PRODUCTS, device, batch),
                )
            case X2act() | Square():
                elements = batch * shape.elements
                return (*_opening(elements), alu_compute(2 * elements, device))
            case Mul():
                opened = batch * (shape.elements + shape.factors)
                return (*_opening(opened), alu_compute(3 * batch * shape.elements, device))
            case Relu() | Relu6() | MaxPool():
                return _comparison(batch * comparison_count(shape), device)
            case Select() | PatchRelu():  # choosing more elements than there are signs is a product by a bit each
                chosen = alu_compute(2 * batch * shape.elements, device)
                return (*_comparison(batch * comparison_count(shape), device), chosen)
            case AvgPool():
                return (alu_compute(2 * batch * shape.output_elements, device),)
            case Add() | Affine():
                return (alu_compute(batch * shape.elements, device),)
            case Truncate():
                return ()
        raise TypeError(f"{shape!r} is not an operator shape")

    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        """The paper's model has no offline phase."""
        return (0, 0)

    def setup_bytes(self, shape: OperatorShape) -> tuple[int, int]:
        """F = W - B, opened once per model, not per inference."""
        if not isinstance(shape, Conv | Linear):
            return (0, 0)
        return (WORD_BYTES * shape.weights, WORD_BYTES * shape.weights)


def _opening(elements: int) -> tuple[Phase, ...]:
    """E = rec(E0, E1): one message each way, one after the other."""
    size = WORD_BYTES * elements
    return (Exchange((size, 0)), Exchange((0, size)))


def _comparison(comparisons: int, device: Device) -> tuple[Phase, ...]:
    """COMM1, CMP2, COMM2, CMP3, COMM3, CMP4, COMM4: 2,561 bits and 5,185 operations per comparison."""
    table_entries = TABLE * DIGITS
    return (
        Exchange((WORD_BYTES, 0)),
        comparator_compute(RING_BITS * (DIGITS + 1) * comparisons, device),
        Exchange((0, RING_BITS * DIGITS * comparisons // 8)),
        comparator_compute(RING_BITS * (DIGITS + 1 + table_entries) * comparisons, device),
        Exchange((RING_BITS * table_entries * comparisons // 8, 0)),
        comparator_compute((RING_BITS * table_entries + 1) * comparisons, device),
        Exchange((0, -(-comparisons // 8))),
    )


PAPER = ProtocolDescriptor(PaperProtocol())
