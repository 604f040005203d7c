"""Other comparisons and narrower words for masked wires: cost models beside the executed `masked`.

Here a convolution opens its output under the next wire's mask and truncates on the way, so that it is one opening with
its truncation, and X2act is another. Words are 32 bits, or narrow where calibration allows: 24 bits into a convolution
and 16 into an activation. Two comparisons:

- `dcf`: a distributed comparison function; keys of 16 (D - 6) B for each party, D - 6 AES blocks per evaluation.
- `onehot`: D = 15 bits as three 5-bit digits, dealt as one-hot words; 12.6 B to party 1, no AES, one round more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...cost.kernels import WORD_BYTES, aes_compute, alu_compute, array_compute, comparator_compute
from ...cost.protocol import Exchange, Phase, ProtocolCosts
from ...devices import Device
from ...program.operators import (
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
)
from ..shared.pool_tree import comparison_counts

#: One-hot words of three 5-bit digits and five dealt products: 12.6 B.
ONEHOT_BITS = 3 * 32 + 5
#: Levels of the comparison tree that early termination saves: the last 7 bits are one AES block.
EARLY_TERMINATION = 6
AES_BLOCK_BYTES = 16
#: Operations per element: (alu) X2act's select, square, linear part; ReLU's lift and select.
X2ACT_OPERATIONS, SELECT_OPERATIONS = 8, 10


@dataclass(frozen=True)
class Wires:
    """Bytes that an opened word takes, and the comparison's domain."""

    conv_input: int
    act_input: int
    domain_bits: int


FULL_WIRES = Wires(conv_input=WORD_BYTES, act_input=WORD_BYTES, domain_bits=31)
NARROW_WIRES = Wires(conv_input=3, act_input=2, domain_bits=15)


class MaskedVariant(ProtocolCosts):
    """Masked wires of 32 bits with comparison by distributed comparison functions."""

    name: ClassVar[str] = "masked-variant"
    executable: ClassVar[bool] = False
    comparison: ClassVar[str] = "dcf"
    wires: ClassVar[Wires] = FULL_WIRES

    def primitives(self, shape: OperatorShape) -> tuple[OperatorShape, ...]:
        if isinstance(shape, Relu6):  # relu(x) - relu(x - 6), compared in one batch
            return (Affine(shape.elements), Relu(2 * shape.elements), Affine(shape.elements))
        if isinstance(shape, PatchRelu):
            return shape.sums, Select(shape.elements, shape.comparisons)
        return (shape,)

    def phases(self, shape: OperatorShape, device: Device, batch: int = 1) -> tuple[Phase, ...]:
        match shape:
            case Conv() | Linear():
                elements = batch * shape.output_elements
                product = array_compute(shape, 1, device, batch)
                return (product, alu_compute(2 * elements, device), _opening(self.wires.act_input * elements))
            case X2act() | Square():
                elements = batch * shape.elements
                return (alu_compute(X2ACT_OPERATIONS * elements, device), _opening(self.wires.conv_input * elements))
            case Mul():  # its inputs are open; the product is opened under the next wire's mask
                elements = batch * shape.elements
                return (alu_compute(X2ACT_OPERATIONS * elements, device), _opening(self.wires.conv_input * elements))
            case Relu():
                return self._select(batch * shape.elements, self.wires.conv_input, device)
            case Select():
                elements = batch * shape.elements
                return self._select(batch * shape.signs, self.wires.conv_input, device, elements)
            case MaxPool():
                levels = comparison_counts(shape, batch)
                return tuple(phase for count in levels for phase in self._select(count, self.wires.act_input, device))
            case AvgPool():
                operations = batch * shape.output_elements * shape.kernel[0] * shape.kernel[1]
                return (alu_compute(operations, device),)
            case Add() | Affine() | Truncate():  # truncate-and-reduce drops ring bits with the fraction: local
                return (alu_compute(batch * shape.elements, device),)
        raise TypeError(f"{shape!r} is not a primitive operation of {self.name}")

    def _select(self, count: int, word_bytes: int, device: Device, elements: int | None = None) -> tuple[Phase, ...]:
        """Compare, open the masked sign, select as many elements or `elements`, open the masked result."""
        elements = count if elements is None else elements
        sign_and_result = (
            _opening(_planes(1, count)),
            alu_compute(SELECT_OPERATIONS * elements, device),
            _opening(word_bytes * elements),
        )
        if self.comparison == "dcf":
            return (aes_compute((self.wires.domain_bits - EARLY_TERMINATION) * count, device), *sign_and_result)
        digits = comparator_compute(12 * count, device)  # three look-ups, five products of bits, both sides
        return (digits, _opening(_planes(4, count)), *sign_and_result)

    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        match shape:
            case Conv() | Linear():
                return (0, WORD_BYTES * batch * shape.output_elements)
            case Mul():
                return (0, WORD_BYTES * batch * shape.elements)
            case X2act() | Square():
                return (0, 16 * batch * shape.elements)
            case Relu():
                return self._comparison_material(batch * shape.elements, select_bytes=20)
            case Select():
                keys, dealt = self._comparison_material(batch * shape.signs, select_bytes=4)
                return keys, dealt + 16 * batch * shape.elements
            case MaxPool():
                return self._comparison_material(sum(comparison_counts(shape, batch)), select_bytes=12)
        return (0, 0)

    def _comparison_material(self, count: int, select_bytes: int) -> tuple[int, int]:
        if self.comparison == "dcf":
            key = AES_BLOCK_BYTES * (self.wires.domain_bits - EARLY_TERMINATION)
            return (key * count, (key + select_bytes) * count)
        return (0, _planes(ONEHOT_BITS, count) + select_bytes * count)

    def setup_bytes(self, shape: OperatorShape) -> tuple[int, int]:
        """M_W = W + r_W, opened once per model."""
        if not isinstance(shape, Conv | Linear):
            return (0, 0)
        return (WORD_BYTES * shape.weights, WORD_BYTES * shape.weights)


class MaskedDcfNarrow(MaskedVariant):
    """Masked wires of 16 and 24 bits with comparison by distributed comparison functions."""

    name: ClassVar[str] = "masked-dcf-narrow"
    wires: ClassVar[Wires] = NARROW_WIRES


class MaskedOneHotNarrow(MaskedDcfNarrow):
    """Masked wires of 16 and 24 bits with comparison by one-hot digits."""

    name: ClassVar[str] = "masked-onehot-narrow"
    comparison: ClassVar[str] = "onehot"


def _opening(size: int) -> Exchange:
    return Exchange((size, size))


def _planes(bits: int, count: int) -> int:
    """`bits` bit planes of `count` elements, each a whole number of bytes."""
    return bits * (-(-count // 8))
