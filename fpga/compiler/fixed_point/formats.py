"""Choice of a fixed-point format for every tensor.

The rule of the ring: with headroom, every value stays inside ±2**30 words, the untruncated products included. The
`budget` of a tensor is how many fraction bits that leaves; its `cap` is what its readers want: a product's budget is
shared between its input and its weights, a square takes twice the bits of its input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...program import ARGMAX, TRUNCATION_BOUND_BITS
from ..graph import (
    AnyNode,
    AvgPool,
    Combine,
    Concat,
    Conv,
    Graph,
    Linear,
    MaxPool,
    Pad,
    PatchRelu,
    Pick,
    Piecewise,
    PixelAffine,
    Polynomial,
    Product,
    Relu,
    Reshape,
)
from ..piecewise_tables import PIECEWISE
from .calibration import Calibration, UnfitRange

#: A larger range than calibration saw by this factor still fits.
HEADROOM = 2.0
#: More fraction bits than this gain nothing for activations, unless these are so small that they need more.
ACTIVATION_BITS = 12
#: Significant bits that weights (root mean square) and activations (maximum) should keep.
WEIGHT_SIGNIFICANT_BITS = 8
ACTIVATION_SIGNIFICANT_BITS = 11
#: Weights get so many more where the ring has room for them.
SPARE_WEIGHT_BITS = 4
#: In narrow rings, words of activations stay with headroom below 2**NARROW_WORD_BITS, so that 16 bits open them; and
#: weights get no bits to spare, because every bit that a truncation drops is a bit of the convolution's input to open.
NARROW_WORD_BITS = 14
LEAST_NARROW_BITS = 8
#: Below this, a format is not an approximation any more, except of a tensor that is only a small part of sums.
LEAST_SIGNIFICANT_BITS = 4
#: The range of a tensor that was zero in all of calibration, and the smallest one that formats follow.
UNSEEN_RANGE, SMALLEST_RANGE = 2.0**-2, 2.0**-24
#: No tensor's typical size counts as less than this part of its bound.
SMALLEST_SHARE = 2.0**-14
#: What a tensor less a constant keeps as a whole: the constant does not grow, and the certificate asks for half a bit.
SHIFTED_HEADROOM = 1.45


@dataclass(frozen=True)
class Formats:
    """Fraction bits that tensors may have.

    Attributes:
        bounds: largest absolute value that must fit, headroom included.
        budgets: fraction bits that keep `bounds` inside ±2**30, and that one truncation takes back to the cap.
        product_budgets: of convolutions and linear layers; where a sum adds them untruncated, it must fit too.
        caps: fraction bits of the stored tensor, at most the budget.
        spare_weight_bits: how many bits more than they need weights get.
    """

    bounds: Mapping[str, float]
    budgets: Mapping[str, int]
    product_budgets: Mapping[str, int]
    caps: Mapping[str, int]
    spare_weight_bits: int = SPARE_WEIGHT_BITS


def choose_formats(graph: Graph, calibration: Calibration, narrow: bool = False) -> Formats:
    """Choose formats for every tensor of the graph.

    Args:
        narrow: leave out the bits that only serve to fill a word of 32 bits.

    Raises:
        Refusal: names the tensor for which no format fits, and its range.
    """
    bounds = {name: HEADROOM * max(seen or UNSEEN_RANGE, SMALLEST_RANGE) for name, seen in calibration.seen.items()}
    for node in graph.nodes:
        if isinstance(node, Polynomial):
            bounds[node.output] = max(bounds[node.output], _polynomial_bound(node, bounds))
        elif isinstance(node, Piecewise):
            bounds[node.output] = _piecewise_bound(node, bounds)
    budgets = {name: math.floor(TRUNCATION_BOUND_BITS - math.log2(bound)) for name, bound in bounds.items()}
    for name, budget in budgets.items():
        if budget < 1:
            raise UnfitRange(
                f"tensor {name!r} reaches {calibration.seen[name]:.4g}: no fixed-point format of 32 bits fits it"
            )
    products = _product_budgets(graph, budgets)
    reach = _compared_reach(graph, bounds)
    caps = {
        name: min(_bits_wanted(bound), TRUNCATION_BOUND_BITS - math.ceil(math.log2(reach[name])))
        for name, bound in bounds.items()
    }
    if narrow:
        caps = {name: min(cap, _narrow_cap(bounds[name], reach[name])) for name, cap in caps.items()}
    else:
        _widen_sums(graph, caps, reach)
    wishes = _Wishes(bounds, _typical_sizes(calibration, bounds), products, caps, graph.deferred)
    for node in reversed(graph.nodes):
        for name, wanted in zip(node.inputs, wishes.of_inputs(node), strict=True):
            caps[name] = min(caps[name], wanted)
    for name, cap in caps.items():
        if cap + math.log2(bounds[name]) < LEAST_SIGNIFICANT_BITS and not _only_summed(graph, name):
            fits = "no narrow ring fits both; --ring 32 may" if narrow else "no fixed-point format of 32 bits fits both"
            raise UnfitRange(
                f"tensor {name!r} reaches {calibration.seen[name]:.4g}, and what is computed from it leaves it only "
                f"{cap} fraction bits: {fits}"
            )
    budgets = {name: min(budget, caps[name] + TRUNCATION_BOUND_BITS) for name, budget in budgets.items()}
    return Formats(bounds, budgets, _product_budgets(graph, budgets), caps, 0 if narrow else SPARE_WEIGHT_BITS)


def _widen_sums(graph: Graph, caps: dict[str, int], reach: Mapping[str, float]) -> None:
    """A sum of integers has the format of its summands: one that is small, and read elsewhere too, keeps its bits."""
    for node in graph.nodes:
        if isinstance(node, Combine) and all(is_exact(scale) for scale in node.scales):
            room = TRUNCATION_BOUND_BITS - math.ceil(math.log2(reach[node.output]))
            wanted = [caps[name] for name in node.inputs if not _only_summed(graph, name)]
            caps[node.output] = max(caps[node.output], min(room, max(wanted, default=0)))


def _only_summed(graph: Graph, name: str) -> bool:
    readers = [node for node in graph.nodes if name in node.inputs]
    return bool(readers) and all(isinstance(node, Combine) and len(node.inputs) > 1 for node in readers)


def _bits_wanted(bound: float) -> int:
    """Fraction bits of an activation where nothing limits them."""
    return max(ACTIVATION_BITS, ACTIVATION_SIGNIFICANT_BITS - math.floor(math.log2(bound)))


def _narrow_cap(bound: float, reach: float) -> int:
    """Fraction bits that keep a word narrow, unless a clip's ceiling far above the tensor would take all of them."""
    keeps_some = LEAST_NARROW_BITS - math.ceil(math.log2(bound))
    return max(NARROW_WORD_BITS - math.ceil(math.log2(reach)), keeps_some)


def _compared_reach(graph: Graph, bounds: Mapping[str, float]) -> dict[str, float]:
    """How far the words of a tensor reach: a clip compares it less the ceiling too, an argmax two logits."""
    reach = dict(bounds)
    if graph.reveals == ARGMAX:
        reach[graph.output] *= 2
    for node in graph.nodes:
        if isinstance(node, Relu) and node.ceiling is not None:
            name = node.inputs[0]
            reach[name] = max(reach[name], shifted_reach(bounds[name], node.ceiling))
    return reach


def shifted_reach(bound: float, constant: float) -> float:
    """How far a tensor within `bound`, headroom included, reaches with a constant added."""
    return max(bound + constant, SHIFTED_HEADROOM * (bound / HEADROOM + constant))


def _product_budgets(graph: Graph, budgets: Mapping[str, int]) -> dict[str, int]:
    """The budgets, less where a sum whose multipliers stay integers leaves an untruncated summand fewer bits."""
    products = dict(budgets)
    for node in graph.nodes:
        if isinstance(node, Combine):
            for name, scale in zip(node.inputs, node.scales, strict=True):
                if name in graph.deferred:
                    products[name] = min(products[name], budgets[node.output] + int(np.log2(np.abs(scale)).min()))
    return products


def _polynomial_bound(node: Polynomial, bounds: Mapping[str, float]) -> float:
    """Largest value over the input's range with headroom, but not more than twice what calibration asks for."""
    reach = bounds[node.inputs[0]]
    worst = np.abs(node.square) * reach**2 + np.abs(node.linear) * reach + np.abs(node.addend)
    return min(float(worst.max()), 2 * bounds[node.output])


def _piecewise_bound(node: Piecewise, bounds: Mapping[str, float]) -> float:
    """What grows reaches as far as its input; the others never further than they may at all."""
    table = PIECEWISE[node.function]
    reach = table.reach(bounds[node.inputs[0]])
    return max(bounds[node.output], reach) if table.grows else reach


def _typical_sizes(calibration: Calibration, bounds: Mapping[str, float]) -> dict[str, float]:
    """Root mean squares, not so small that a tensor that some images leave nearly empty takes all bits."""
    return {name: max(calibration.typical(name), bound * SMALLEST_SHARE) for name, bound in bounds.items()}


@dataclass(frozen=True)
class _Wishes:
    """Fraction bits that a node wants its inputs to have at most; `products` are budgets, `caps` shrink meanwhile."""

    bounds: Mapping[str, float]
    typical: Mapping[str, float]
    products: Mapping[str, int]
    caps: Mapping[str, int]
    deferred: frozenset[str]

    def of_inputs(self, node: AnyNode) -> list[int]:
        match node:
            case Product():
                return self._of_factors(node)
            case Combine() if all(is_exact(scale) for scale in node.scales):
                truncated = bool(self.deferred.intersection(node.inputs))
                bits = self.products[node.output] if truncated else self.caps[node.output]
                return [bits + int(np.log2(np.abs(scale)).min()) for scale in node.scales]
        return [self._of_input(node)] * len(node.inputs)

    def _of_factors(self, node: Product) -> list[int]:
        """Share a product's budget so that rounding either factor costs as much, where they can use their bits."""
        budget = self.products[node.output]
        first, second = node.inputs
        first_bits = min(_fair_share(budget, self.typical[first], self.typical[second]), self.caps[first])
        second_bits = min(budget - first_bits, self.caps[second])
        return [min(budget - second_bits, self.caps[first]), second_bits]

    def _of_input(self, node: AnyNode) -> int:
        budget, cap, source = self.products[node.output], self.caps[node.output], node.inputs[0]
        match node:
            case Conv() | Linear():
                most = min(weight_bits_wanted(node), cap + math.ceil(math.log2(self.bounds[source])))
                fair = _fair_share(budget, self.typical[source], node.root_mean_square)
                return max(fair, budget - most - SPARE_WEIGHT_BITS)
            case Polynomial():
                return _square_input_cap(node, budget, self.bounds[source])
            case Piecewise():
                table = PIECEWISE[node.function]
                fits = table.input_bits(self.bounds[source])
                return min(fits, cap) if table.grows else fits
            case AvgPool():
                growth = math.ceil(math.log2(node.divisor))
                if is_exact(np.array([node.divisor])) and growth <= 2 and cap - growth >= 8:
                    return cap - growth
                return budget - growth
            case PatchRelu(patch=patch):
                reach = patch[0] * patch[1] * self.bounds[node.inputs[0]]
                return min(cap, TRUNCATION_BOUND_BITS - math.ceil(math.log2(reach)))
            case Combine():
                return budget - 2
            case PixelAffine():
                scales = np.abs(node.scale[node.scale != 0])
                return cap + int(np.log2(scales.min(initial=1.0))) if is_exact(scales) else budget - 2
            case Relu() | MaxPool() | Reshape() | Concat() | Pad() | Pick():
                return cap
        raise ValueError(f"{type(node).__name__} cannot be lowered")


def _fair_share(budget: int, first: float, second: float) -> int:
    """Fraction bits of the first of two factors of these sizes, so that rounding either costs the product as much."""
    return math.floor((budget + math.log2(second) - math.log2(first) + 1) / 2)


def weight_bits_wanted(node: Conv | Linear) -> int:
    """Fraction bits that keep the weights' significant bits."""
    return max(0, math.ceil(WEIGHT_SIGNIFICANT_BITS - math.log2(node.root_mean_square)))


def _square_input_cap(node: Polynomial, budget: int, bound: float) -> int:
    """The square itself must fit, and so must its product with a coefficient that is exact.

    Other coefficients take their bits from a truncation of the square.
    """
    square_fits = math.floor((TRUNCATION_BOUND_BITS - 2 * math.log2(bound)) / 2)
    smallest = float(np.abs(node.square[node.square != 0]).min())
    exact_fits = math.floor((budget + math.log2(smallest)) / 2)
    if smallest >= 0.25 or exact_fits + math.log2(bound) >= ACTIVATION_SIGNIFICANT_BITS:
        return min(square_fits, exact_fits)
    return square_fits


def is_exact(values: np.ndarray) -> bool:
    """Whether every number is ±2**n, so that an integer multiplier represents it exactly."""
    mantissas, _ = np.frexp(np.abs(values))
    return bool((mantissas == 0.5).all())
