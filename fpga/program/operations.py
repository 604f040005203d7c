"""The operations of a two-party program, and the tensors and constants between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

RING_BITS = 32
WORD_BYTES = RING_BITS // 8
#: Untruncated values must stay inside ±2**TRUNCATION_BOUND_BITS or probabilistic truncation may fail.
TRUNCATION_BOUND_BITS = 30


@dataclass(frozen=True)
class Tensor:
    """A shared tensor of one image: int32 words with `fraction_bits` bits after the point.

    `scale` (one number, or one per channel) is how much larger the program's tensor is than the model's: a tensor t of
    the model is held as round(t * scale * 2**fraction_bits).

    `ring_bits` w promises |word| < 2**(w - 2): a protocol may open it on w bits. RING_BITS promises nothing beyond what
    the operations require. Every other operation of a program still computes modulo 2**32.
    """

    name: str
    shape: tuple[int, ...]
    fraction_bits: int
    scale: tuple[float, ...] = (1.0,)
    ring_bits: int = RING_BITS

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class Constant:
    """A secret constant: `shape` int32 words, row-major little-endian, at byte `offset` of weights.bin."""

    name: str
    shape: tuple[int, ...]
    fraction_bits: int
    offset: int


@dataclass(frozen=True)
class Operation:
    """Base of all operators: named tensors in, one named tensor out. `name` is unique and readable."""

    kind: ClassVar[str] = ""
    name: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class ConvOp(Operation):
    """beaver_conv: y = W ⊗ x + bias, untruncated: f_y = f_x + f_W, bias already at f_y.

    W is [out, in / groups, kh, kw]; bias [out]. `padding` is (top, left, bottom, right), with zeros.
    """

    kind: ClassVar[str] = "conv"
    weight: str
    bias: str | None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1


@dataclass(frozen=True)
class LinearOp(Operation):
    """beaver matrix product: y = W x + bias, untruncated; W is [out, in], x and y are flat."""

    kind: ClassVar[str] = "linear"
    weight: str
    bias: str | None


@dataclass(frozen=True)
class SquareOp(Operation):
    """beaver_square: y = x², f_y = 2 f_x."""

    kind: ClassVar[str] = "square"


@dataclass(frozen=True)
class MulOp(Operation):
    """Product of two secrets: y = inputs[0] * inputs[1], f_y = f_0 + f_1, untruncated.

    The second input has the first one's shape, or 1 along some axes: [C, 1, 1] is one factor per channel.
    """

    kind: ClassVar[str] = "mul"


@dataclass(frozen=True)
class AffineOp(Operation):
    """Local: y = Σ_t multipliers[t] * inputs[t] + addend, all integers of the ring.

    Each multiplier and the addend is a tuple of length 1 (one for all), C (one per channel), H * W (one per pixel) or
    C * H * W (one per element); where C is H * W, it is per channel. It expresses residual addition with alignment
    (multipliers are powers of two), the polynomial's coefficients, and scaling.
    """

    kind: ClassVar[str] = "affine"
    multipliers: tuple[tuple[int, ...], ...]
    addend: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class ReluOp(Operation):
    """compare and multiplex: y = max(x, 0), f_y = f_x. Requires |x| < 2**31."""

    kind: ClassVar[str] = "relu"


@dataclass(frozen=True)
class SelectOp(Operation):
    """compare and multiplex: y = x * [s > 0] for x = inputs[0] and s = inputs[1], f_y = f_x.

    s has one number for every patch of x, `patch` pixels high and wide (see `patches.py`). Requires |s| < 2**31.
    """

    kind: ClassVar[str] = "select"
    patch: tuple[int, int]


@dataclass(frozen=True)
class MaxPoolOp(Operation):
    """MaxPool tree; `padding` counts as minus infinity (it is left out of the windows)."""

    kind: ClassVar[str] = "maxpool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class SumPoolOp(Operation):
    """Local: the sum over each window (zeros outside).

    The mean's divisor lives in f_y or in a later multiplier.
    """

    kind: ClassVar[str] = "sumpool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class TruncateOp(Operation):
    """Drop `bits` fraction bits: y ∈ {floor(x / 2**bits), floor(x / 2**bits) + 1}; requires |x| < 2**30."""

    kind: ClassVar[str] = "truncate"
    bits: int


@dataclass(frozen=True)
class ReshapeOp(Operation):
    """Local: the same words in another shape (flatten)."""

    kind: ClassVar[str] = "reshape"


@dataclass(frozen=True)
class ConcatOp(Operation):
    """Local: inputs side by side along the channel axis, all in one format."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True)
class PadOp(Operation):
    """Local: zeros around an image; `padding` is (top, left, bottom, right)."""

    kind: ClassVar[str] = "pad"
    padding: tuple[int, int, int, int]


@dataclass(frozen=True)
class PickOp(Operation):
    """Local: words picked out of a tensor in any order: slices, splits, shuffled channels, transposes, zeros between.

    `offsets` has a row for each axis of the result. Element (i, j, k) is the word
    `offsets[0][i] + offsets[1][j] + offsets[2][k]` of the flat input; it is zero where one of the three is negative.
    """

    kind: ClassVar[str] = "pick"
    offsets: tuple[tuple[int, ...], ...]


AnyOperation: TypeAlias = (
    ConvOp
    | LinearOp
    | SquareOp
    | MulOp
    | AffineOp
    | ReluOp
    | SelectOp
    | MaxPoolOp
    | SumPoolOp
    | TruncateOp
    | ReshapeOp
    | ConcatOp
    | PadOp
    | PickOp
)

OPERATION_KINDS: dict[str, type[AnyOperation]] = {
    operation.kind: operation
    for operation in (
        ConvOp,
        LinearOp,
        SquareOp,
        MulOp,
        AffineOp,
        ReluOp,
        SelectOp,
        MaxPoolOp,
        SumPoolOp,
        TruncateOp,
        ReshapeOp,
        ConcatOp,
        PadOp,
        PickOp,
    )
}
