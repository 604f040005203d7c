"""`beaver-ot`, the paper's way: Beaver products for the linear part, oblivious transfer for every comparison.

Ring Z_2^32, semi-honest parties, correlated randomness dealt beforehand. Party 0 is the client and owns the image,
party 1 the server and owns the model. This module is the wire format: which rounds every operator takes, what each
round carries, exactly how many bytes. `beaver_products` and `beaver_ot_compare` send these very messages and
deal the material for them.

Bits travel in planes: one plane holds the same bit of all n elements of one image and takes ceil(n / 8) bytes.

Comparison (`millionaires`, CrypTFlow2): the carry of the 31 low bits decides the sign of a sum of shares. The 31 bits
are cut into seven 4-bit digits and one 3-bit digit (the least significant); each digit is a leaf, a (2^4,1)-OT from a
dealt random OT. The sender's own share absorbs the message of value 0, so 15 messages of (greater, equal) are sent per
4-bit digit and 7 of (greater) for the last one. Three levels of AND join the eight leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from .base import Exchange
from .executed import ExecutedProtocol, Step, Work

WORD_BYTES = 4
#: A party's share of its own input is expanded from a seed of this size, which is all that is sent.
SEED_BYTES = 16

#: Digits of the 31 low bits, least significant first.
DIGIT_BITS = (3, 4, 4, 4, 4, 4, 4, 4)
CHOICE_PLANES = sum(DIGIT_BITS)  # 31
#: Planes of OT messages: (greater, equal) for the values 1..15 of each digit; the lowest digit needs no `equal`.
MESSAGE_PLANES = (2 ** DIGIT_BITS[0] - 1) + sum(2 * (2**bits - 1) for bits in DIGIT_BITS[1:])  # 217
#: Planes that the dealer corrects for the OT receiver: what it gets of each random OT.
OT_CORRECTION_PLANES = 1 + 2 * (len(DIGIT_BITS) - 1)  # 15


def and_tree(digits: int) -> tuple[tuple[int, int], ...]:
    """Per level of the AND tree that joins the digits' leaves: planes that are opened, and gates.

    A pair of leaves opens (equal_hi, greater_lo, equal_lo), the lowest pair of a level no `equal_lo`; an odd leaf, the
    highest, goes on to the next level.
    """
    levels = []
    while digits > 1:
        pairs = digits // 2
        levels.append((3 * pairs - 1, 2 * pairs - 1))
        digits -= pairs
    return tuple(levels)


AND_OPENED_PLANES, AND_GATES = zip(*and_tree(len(DIGIT_BITS)))  # (11, 5, 2) and (7, 3, 1)


def plane_bytes(elements: int) -> int:
    """Bytes of one bit plane."""
    return (elements + 7) // 8


def tournament(valid: int) -> Iterator[int]:
    """Comparisons per level that reduce `valid` values to their maximum."""
    while valid > 1:
        yield valid // 2
        valid -= valid // 2


def pool_levels(shape: MaxPool) -> tuple[int, ...]:
    """Comparisons of one image in each level of a MaxPool tree; padding is left out of the windows."""
    rows = _valid_counts(shape.height, shape.kernel[0], shape.stride[0], shape.padding[0], shape.out_height)
    columns = _valid_counts(shape.width, shape.kernel[1], shape.stride[1], shape.padding[1], shape.out_width)
    levels: list[int] = []
    for row in rows:
        for column in columns:
            for level, comparisons in enumerate(tournament(row * column)):
                if level == len(levels):
                    levels.append(0)
                levels[level] += comparisons * shape.channels
    return tuple(levels)


def _valid_counts(size: int, kernel: int, stride: int, pad_before: int, outputs: int) -> list[int]:
    """How many taps of each window lie inside the image, along one axis."""
    starts = (index * stride - pad_before for index in range(outputs))
    return [min(start + kernel, size) - max(start, 0) for start in starts]


def _relu_steps(image_elements: int, batch: int) -> tuple[Step, ...]:
    """Compare with zero and multiplex: seven rounds."""
    elements, planes = batch * image_elements, batch * plane_bytes(image_elements)
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
        Work("alu", "multiplex", elements),
        Exchange((WORD_BYTES * elements, WORD_BYTES * elements)),
        Work("alu", "multiplex", elements),
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
        case Truncate(elements=elements):
            opened = batch * elements
            return (Work("alu", "mask", opened), _opened(opened), Work("alu", "truncate", opened))
        case Relu(elements=elements):
            return _relu_steps(elements, batch)
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
        case Square(elements=elements):
            return 0, WORD_BYTES * batch * elements
        case Truncate(elements=elements):
            return 0, 2 * WORD_BYTES * batch * elements  # r >> s and the top bit of r
        case Relu(elements=elements):
            return 0, batch * _relu_offline_bytes(elements)
        case MaxPool():
            return 0, batch * sum(_relu_offline_bytes(comparisons) for comparisons in pool_levels(shape))
    return 0, 0


def _relu_offline_bytes(elements: int) -> int:
    planes = OT_CORRECTION_PLANES + sum(AND_GATES)
    return planes * plane_bytes(elements) + 2 * WORD_BYTES * elements  # one correlated OT in each direction


def beaver_ot_setup_bytes(shape: OperatorShape) -> tuple[int, int]:
    """F = W − B, opened once per session."""
    if isinstance(shape, Conv | Linear):
        return WORD_BYTES * shape.weights, WORD_BYTES * shape.weights
    return 0, 0


class BeaverOT(ExecutedProtocol):
    """The paper's protocol with the erratum of Eq. 3 and dealt oblivious transfers; the default of a search."""

    name: ClassVar[str] = "beaver-ot"

    def steps(self, shape: OperatorShape, batch: int) -> tuple[Step, ...]:
        return beaver_ot_steps(shape, batch)

    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        return beaver_ot_offline_bytes(shape, batch)

    def setup_bytes(self, shape: OperatorShape) -> tuple[int, int]:
        return beaver_ot_setup_bytes(shape)
