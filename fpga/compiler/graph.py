"""The compiler's own graph: a classifier in real numbers, in the few operators that two parties can compute.

Tensors have the shape of one image, (C, H, W) or (features,). Per-channel parameters are float64 arrays of length 1
(the same for all channels) or C. Nodes are immutable; a pass returns a new graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from rrnet_nni.base.image_format import ImageFormat

from ..program import LOGITS

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """Base of all nodes: named tensors in, one named tensor out; `name` is what reports and refusals show."""

    name: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, eq=False)
class Weighted(Node):
    """A node with a matrix of weights: what takes a pass over them is kept, for the next graph that has the node."""

    weight: np.ndarray

    @cached_property
    def root_mean_square(self) -> float:
        """Of the weights; 1 where all are zero."""
        return float(np.sqrt(np.mean(np.square(self.weight)))) or 1.0

    @cached_property
    def reach(self) -> float:
        """Largest absolute value of the weights; 0 of none."""
        return float(max(self.weight.max(initial=0.0), -self.weight.min(initial=0.0)))

    @cached_property
    def copies(self) -> dict[tuple[bytes, bytes], AnyNode]:
        """The node between scaled tensors, by the factors of input and output."""
        return {}


@dataclass(frozen=True, eq=False)
class Conv(Weighted):
    """weight [out, in / groups, kh, kw], bias [out]; padding (top, left, bottom, right) with zeros."""

    bias: np.ndarray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Linear(Weighted):
    """weight [out, in], bias [out]."""

    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Combine(Node):
    """y = Σ_t scales[t] * inputs[t] + addend: additions, BatchNorm, multiplication by constants."""

    scales: tuple[np.ndarray, ...]
    addend: np.ndarray = field(default_factory=lambda: np.zeros(1))


@dataclass(frozen=True, eq=False)
class Product(Node):
    """y = inputs[0] * inputs[1], the second with 1 along some axes where it is broadcast.

    A pass turns it into a polynomial where both factors come from one tensor.
    """


@dataclass(frozen=True, eq=False)
class Polynomial(Node):
    """y = square * x² + linear * x + addend (X2act, Eq. 4, with its coefficients folded)."""

    square: np.ndarray
    linear: np.ndarray
    addend: np.ndarray


@dataclass(frozen=True, eq=False)
class Relu(Node):
    """max(x, 0), or min(max(x, 0), ceiling)."""

    ceiling: float | None = None


@dataclass(frozen=True, eq=False)
class PatchRelu(Node):
    """x where the mean of its patch of h x w pixels is above 0, else 0; patches at the far ends may be smaller."""

    patch: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Piecewise(Node):
    """A smooth activation that piecewise quadratics approximate: a name of `piecewise_tables.PIECEWISE`."""

    function: str


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """Padding is left out of the windows."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class AvgPool(Node):
    """The sum over each window (zeros outside) divided by `divisor`."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    divisor: float
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Reshape(Node):
    """Flatten to (features,)."""


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Side by side along the channel axis."""


@dataclass(frozen=True, eq=False)
class Pad(Node):
    """Zeros around the image; padding (top, left, bottom, right)."""

    padding: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Pick(Node):
    """Words picked out of the flat input: `offsets` as of the program's `PickOp`."""

    offsets: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class PixelAffine(Node):
    """y = scale * x + addend with public numbers per pixel: arrays [1 or C, H, W]."""

    scale: np.ndarray
    addend: np.ndarray


AnyNode: TypeAlias = (
    Conv
    | Linear
    | Combine
    | Product
    | Polynomial
    | Piecewise
    | Relu
    | PatchRelu
    | MaxPool
    | AvgPool
    | Reshape
    | Concat
    | Pad
    | Pick
    | PixelAffine
)


@dataclass(frozen=True)
class Reach:
    """What the integers of a QuantizeLinear stand for; of several channels, what all of them reach."""

    least: float
    largest: float
    per_channel: bool = False


@dataclass(frozen=True)
class Graph:
    """Nodes in an order that defines every tensor before its use; `shapes` of every tensor, the input's included.

    `scales` are the factors by which passes made tensors larger than those of the model, where not 1. `deferred` are
    products that the sum which reads them adds up untruncated. `images` is what the model says of its images. `head` is
    what whoever learns the output applies to it in the clear; `pixels` says that images are whole numbers up to 255.
    `reaches` are copies that the model cuts off at the ends of its integers, until `keep_saturation` has decided which.
    `secret_coefficients` asks for polynomials whose numbers the public program does not have, `reveals` for a program
    that ends in the logits or in their argmax.
    """

    name: str
    input: str
    output: str
    shapes: Mapping[str, Shape]
    nodes: tuple[AnyNode, ...]
    source: Mapping[str, str] = field(default_factory=dict)
    images: ImageFormat | None = None
    scales: Mapping[str, np.ndarray] = field(default_factory=dict)
    deferred: frozenset[str] = frozenset()
    head: tuple[str, ...] = ()
    pixels: bool = False
    reaches: Mapping[str, Reach] = field(default_factory=dict)
    secret_coefficients: bool = False
    reveals: str = LOGITS

    def with_nodes(
        self, nodes: Iterable[AnyNode], output: str | None = None, shapes: Mapping[str, Shape] | None = None
    ) -> Graph:
        """The same graph with other nodes; tensors that nothing makes are forgotten, `shapes` has those of new ones."""
        nodes = tuple(nodes)
        made = {self.input, *(node.output for node in nodes)}
        shapes = {name: shape for name, shape in (shapes or self.shapes).items() if name in made}
        return replace(self, nodes=nodes, output=output or self.output, shapes=shapes)

    def uses(self) -> Counter[str]:
        """How many times each tensor is read; the graph's output counts as one more."""
        return Counter([name for node in self.nodes for name in node.inputs] + [self.output])

    def producers(self) -> dict[str, AnyNode]:
        """Tensor name -> the node that makes it."""
        return {node.output: node for node in self.nodes}


def is_plain_square(node: Polynomial) -> bool:
    """Whether it is x², without a number of the model."""
    return bool((node.square == 1).all() and not node.linear.any() and not node.addend.any())


def rename_inputs(node: AnyNode, names: Mapping[str, str]) -> AnyNode:
    """The node reading other tensors."""
    if not any(name in names for name in node.inputs):
        return node
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.flat[0]:.6g}" if value.size == 1 else f"array{list(value.shape)}"
    if isinstance(value, tuple):
        return "(" + ", ".join(_short(item) for item in value) + ")"
    return str(value)
