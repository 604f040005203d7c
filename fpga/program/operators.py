"""The operators of a convolutional network as shapes: what a cost model needs to know and nothing else.

Every count is for one image. These shapes are the common language of the latency table, the compiler and the search:
a search space describes its choices with them, a protocol prices them, the compiler lowers to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..ring.geometry import output_size


@dataclass(frozen=True)
class Window:
    """A sliding window over [channels, height, width]: the geometry that convolution and pooling share.

    `padding` is (top, left, bottom, right) in pixels.
    """

    channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def out_height(self) -> int:
        return output_size(self.height, self.kernel[0], self.stride[0], self.padding[0], self.padding[2])

    @property
    def out_width(self) -> int:
        return output_size(self.width, self.kernel[1], self.stride[1], self.padding[1], self.padding[3])

    @property
    def input_elements(self) -> int:
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Conv(Window):
    """A convolution; `groups` = channels is depthwise, a 1x1 kernel is pointwise."""

    out_channels: int = 1
    groups: int = 1

    @property
    def output_elements(self) -> int:
        return self.out_channels * self.out_height * self.out_width

    @property
    def weights(self) -> int:
        return self.out_channels * (self.channels // self.groups) * self.kernel[0] * self.kernel[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one plain ring convolution."""
        return self.weights * self.out_height * self.out_width

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.groups == self.channels


@dataclass(frozen=True)
class Linear:
    """A fully connected layer."""

    in_features: int
    out_features: int

    @property
    def input_elements(self) -> int:
        return self.in_features

    @property
    def output_elements(self) -> int:
        return self.out_features

    @property
    def weights(self) -> int:
        return self.in_features * self.out_features

    @property
    def macs(self) -> int:
        return self.weights


@dataclass(frozen=True)
class Relu:
    """max(x, 0): one comparison per element."""

    elements: int

    @property
    def comparisons(self) -> int:
        return self.elements


@dataclass(frozen=True)
class Relu6:
    """min(max(x, 0), 6): two comparisons per element, made side by side."""

    elements: int

    @property
    def comparisons(self) -> int:
        return 2 * self.elements


@dataclass(frozen=True)
class Select:
    """x * [s > 0] with one s for every patch of x: a comparison per patch, a choice per element."""

    elements: int
    signs: int

    @property
    def comparisons(self) -> int:
        return self.signs


@dataclass(frozen=True)
class PatchRelu:
    """x * [mean of its patch > 0]: the sums of all patches, a comparison for each, and a choice per element."""

    channels: int
    height: int
    width: int
    patch: tuple[int, int] = (2, 2)

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width

    @property
    def sums(self) -> AvgPool:
        """The sums of the patches."""
        rows, columns = (-(-size // side) for size, side in zip((self.height, self.width), self.patch))
        beyond = rows * self.patch[0] - self.height, columns * self.patch[1] - self.width
        return AvgPool(self.channels, self.height, self.width, self.patch, self.patch, (0, 0, *beyond))

    @property
    def comparisons(self) -> int:
        return self.sums.output_elements


@dataclass(frozen=True)
class X2act:
    """The square polynomial of Eq. 4: one square per element, then local scaling and a truncation."""

    elements: int


@dataclass(frozen=True)
class Square:
    """x² alone (Eq. 3), without the polynomial's scaling and truncation."""

    elements: int


@dataclass(frozen=True)
class Mul:
    """x * y of two secret tensors, one product per element; `factors` elements of y, each of which may meet several."""

    elements: int
    factors: int


@dataclass(frozen=True)
class MaxPool(Window):
    """k² - 1 comparisons per output, in ceil(log2 k²) levels."""

    @property
    def output_elements(self) -> int:
        return self.channels * self.out_height * self.out_width

    @property
    def comparisons(self) -> int:
        return (self.kernel[0] * self.kernel[1] - 1) * self.output_elements


@dataclass(frozen=True)
class AvgPool(Window):
    """Local additions; a kernel of the whole image is global pooling."""

    @property
    def output_elements(self) -> int:
        return self.channels * self.out_height * self.out_width


@dataclass(frozen=True)
class Add:
    """Residual addition: local."""

    elements: int


@dataclass(frozen=True)
class Affine:
    """Multiplication by public integers and addition of public constants: local (X2act's linear part, alignment)."""

    elements: int


@dataclass(frozen=True)
class Truncate:
    """Dropping fraction bits of a shared value."""

    elements: int


OperatorShape: TypeAlias = (
    Conv
    | Linear
    | Relu
    | Relu6
    | Select
    | PatchRelu
    | X2act
    | Square
    | Mul
    | MaxPool
    | AvgPool
    | Add
    | Affine
    | Truncate
)


@dataclass(frozen=True)
class NamedOperator:
    """One operator of one network, under the name that reports show (`layer2.0.act1`).

    `activation`: of which activation it is a slice of channels, if it is one.
    """

    name: str
    shape: OperatorShape
    activation: str | None = None


def comparison_count(shape: OperatorShape) -> int:
    """Comparisons that one image needs for this operator."""
    return shape.comparisons if isinstance(shape, Relu | Relu6 | Select | PatchRelu | MaxPool) else 0


def relu_count(shape: OperatorShape) -> int:
    """ReLU activations of this operator (poolings are counted apart); one for each patch that shares a sign."""
    if isinstance(shape, Select | PatchRelu):
        return shape.comparisons
    return shape.elements if isinstance(shape, Relu | Relu6) else 0
