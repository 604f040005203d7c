"""`beaver-ot`, the paper's way: Beaver products for the linear part, oblivious transfer for every comparison.

Ring Z_2^32, semi-honest parties, correlated randomness dealt beforehand. Party 0 is the client and owns the image,
party 1 the server and owns the model. This module is the wire format: which rounds every operator takes, what each
round carries, exactly how many bytes. `products` and `comparison` send these very messages and
deal the material for them.

Bits travel in planes: one plane holds the same bit of all n elements of one image and takes ceil(n / 8) bytes.

Comparison (`millionaires`, CrypTFlow2): the carry of the 31 low bits decides the sign of a sum of shares. The 31 bits
are cut into seven 4-bit digits and one 3-bit digit (the least significant); each digit is a leaf, a (2^4,1)-OT from a
dealt random OT. The sender's own share absorbs the message of value 0, so 15 messages of (greater, equal) are sent per
4-bit digit and 7 of (greater) for the last one. Three levels of AND join the eight leaves.
"""

from __future__ import annotations

from typing import ClassVar

from ...cost.protocol import Exchange
from ...program import WORD_BYTES
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
from ..shared.and_tree import AND_GATES, AND_OPENED_PLANES
from ..shared.bit_planes import plane_bytes
from ..shared.digit_planes import CHOICE_PLANES, MESSAGE_PLANES, OT_CORRECTION_PLANES
from ..shared.executed import ExecutedProtocol, Step, Work
from ..shared.linear_geometry import weight_setup_bytes
from ..shared.pool_tree import pool_levels


def _relu_steps(image_elements: int, batch: int, chosen_elements: int | None = None) -> tuple[Step, ...]:
    """Compare with zero and multiplex: seven rounds; several elements of an image may be chosen by one sign."""
    elements, planes = batch * image_elements, batch * plane_bytes(image_elements)
    chosen = elements if chosen_elements is None else batch * chosen_elements
    leaves = (
        Work("comparator", "choices", elements),
        Exchange((0, CHOICE_PLANES * planes)),  # P1, the receiver: its digits, masked by its random choices
        Work("comparator", "leaves", elements),
        Exchange((MESSAGE_PLANES * planes, 0)),  # P0, the sender: its comparison with every value of a digit
    )
    tree: list[Step] = []
    for opened in AND_OPENED_PLANES:
        tree += [Work("comparator", "and", opened * elements), Exchange((opened * planes, opened * planes))]
    multiplexer = (
        Work("comparator", "select", elements),
        Exchange((planes, planes)),  # correlated OT in both directions: each party's masked choice bit
        Work("alu", "multiplex", chosen),
        Exchange((WORD_BYTES * chosen, WORD_BYTES * chosen)),
        Work("alu", "multiplex", chosen),
    )
    return leaves + tuple(tree) + multiplexer


def _opened(elements: int) -> Exchange:
    return Exchange((WORD_BYTES * elements, WORD_BYTES * elements))


def beaver_ot_steps(shape: OperatorShape, batch: int = 1) -> tuple[Step, ...]:
    """Local work and rounds of one primitive operation on a batch of images, in order."""
    match shape:
        case Conv() | Linear():
            opened = batch * shape.input_elements
            return (
                Work("alu", "mask", opened),
                _opened(opened),  # E = X − A, raw, never unrolled
                Work("array", "product", 2 * batch * shape.macs),  # X_i ⊗ F + E ⊗ B_i
                Work("alu", "add", batch * shape.output_elements),
            )
        case Square(elements=elements):
            opened = batch * elements
            return (Work("alu", "mask", opened), _opened(opened), Work("alu", "square", opened))
        case Mul(elements=elements, factors=factors):
            opened = batch * (elements + factors)
            return (Work("alu", "mask", opened), _opened(opened), Work("alu", "multiply", batch * elements))
        case Truncate(elements=elements):
            opened = batch * elements
            return (Work("alu", "mask", opened), _opened(opened), Work("alu", "truncate", opened))
        case Relu(elements=elements):
            return _relu_steps(elements, batch)
        case Select(elements=elements, signs=signs):
            return _relu_steps(signs, batch, elements)
        case MaxPool():
            steps: tuple[Step, ...] = ()
            for comparisons in pool_levels(shape):
                steps += (Work("alu", "subtract", batch * comparisons), *_relu_steps(comparisons, batch))
            return steps
        case AvgPool():
            return (Work("alu", "add", batch * shape.output_elements * shape.kernel[0] * shape.kernel[1]),)
        case Add(elements=elements) | Affine(elements=elements):
            return (Work("alu", "add", batch * elements),)
    raise ValueError(f"{type(shape).__name__} is not a primitive operation of beaver-ot")


def beaver_ot_offline_bytes(shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
    """Corrections for one primitive operation; party 0 expands everything from its seed."""
    match shape:
        case Conv() | Linear():
            return 0, WORD_BYTES * batch * shape.output_elements
        case Square(elements=elements) | Mul(elements=elements):
            return 0, WORD_BYTES * batch * elements
        case Truncate(elements=elements):
            return 0, 2 * WORD_BYTES * batch * elements  # r >> s and the top bit of r
        case Relu(elements=elements):
            return 0, batch * _relu_offline_bytes(elements, elements)
        case Select(elements=elements, signs=signs):
            return 0, batch * _relu_offline_bytes(signs, elements)
        case MaxPool():
            return 0, batch * sum(_relu_offline_bytes(count, count) for count in pool_levels(shape))
    return 0, 0


def _relu_offline_bytes(signs: int, elements: int) -> int:
    planes = OT_CORRECTION_PLANES + sum(AND_GATES)
    return planes * plane_bytes(signs) + 2 * WORD_BYTES * elements  # one correlated OT in each direction


class BeaverOT(ExecutedProtocol):
    """The paper's protocol with the erratum of Eq. 3 and dealt oblivious transfers; the default of a search."""

    name: ClassVar[str] = "beaver-ot"

    def steps(self, shape: OperatorShape, batch: int) -> tuple[Step, ...]:
        return beaver_ot_steps(shape, batch)

    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        return beaver_ot_offline_bytes(shape, batch)

    def setup_bytes(self, shape: OperatorShape) -> tuple[int, int]:
        return weight_setup_bytes(shape)
