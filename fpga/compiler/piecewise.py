"""Smooth activations as continuous piecewise quadratics, whose largest error over all of R is known.

f(x) is a constant and, for every segment [t_k, t_k+1], b_k s_k + a_k s_k² with s_k = clip(x, t_k, t_k+1) − t_k: a
comparison per knot and a square per segment, of numbers as small as the segment, so that nothing cancels. Beyond the
last knots it is constant, as the functions nearly are. Every a_k is a multiple of a power of two, so that no curve is
rounded; only the b_k and constants are. `benchmarks/fit_piecewise.py` makes the tables of smooth functions.

SiLU(x) = relu(x) + g(|x|) has an even rest g, which halves the segments; |x| = 2 relu(x) − x is no comparison more. The
rest of HardSwish is one segment, −s (3 − s) / 6 for s = min(|x|, 3), as exact as the multiple next to 1/6 is; for x
that is computed as 4/3 x it is −s (4 − s) / 8 for s = min(|x|, 4), exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..program import TRUNCATION_BOUND_BITS

#: Of most tables.
CURVE_BITS = 8
HARD_SWISH_BITS = 11
#: HardSwish of tensors that are computed as this multiple has powers of two as coefficients.
HARD_SWISH_FACTOR = 4 / 3
#: Where the reach of a sum is looked for, and what is allowed beyond: the certificate asks for half a bit.
REACH_POINTS, REACH_MARGIN = 1001, 1.45


@dataclass(frozen=True)
class PiecewiseQuadratic:
    """One activation.

    Attributes:
        exact: what it approximates, on float64.
        even: it is relu(x) + the quadratics of |x|; the first knot is then 0, which takes no comparison.
        knots: K + 1 ascending places of K segments.
        constant: the value before the first knot.
        slopes, curves: b_k and a_k of every segment.
        largest_error: |f(x) − exact(x)| for every x, before any fixed point.
        curve_bits: every a_k is a multiple of 2**-curve_bits.
    """

    exact: Callable[[np.ndarray], np.ndarray]
    even: bool
    knots: tuple[float, ...]
    constant: float
    slopes: tuple[float, ...]
    curves: tuple[float, ...]
    largest_error: float
    curve_bits: int = CURVE_BITS

    @property
    def comparisons(self) -> int:
        """Per element: the ReLU of an even activation stands for its first knot."""
        return len(self.knots)

    def sum_bits(self, bound: float) -> int:
        """Fraction bits with which the quadratics of |x| <= bound are added up: as many as one truncation allows."""
        return math.floor(TRUNCATION_BOUND_BITS - math.log2(self.reach(bound)))

    def reach(self, bound: float) -> float:
        """How far the quadratics' sum goes for |x| <= bound; beyond the last knots it is constant."""
        last = min(bound, self.knots[-1])
        x = np.linspace(0.0 if self.even else -last, last, REACH_POINTS)
        return REACH_MARGIN * float(np.abs(self.quadratics(x)).max())

    def input_bits(self, bound: float) -> int:
        """Fraction bits that |x| <= bound may have: squares stay in the ring, and curves are integers beside them."""
        longest = min(bound, max(b - a for a, b in zip(self.knots, self.knots[1:])))
        square_fits = (TRUNCATION_BOUND_BITS - 1) / 2 - math.log2(longest)
        return min(math.floor(square_fits), (self.sum_bits(bound) - self.curve_bits) // 2)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The approximation itself, on float64."""
        return np.maximum(x, 0) + self.quadratics(np.abs(x)) if self.even else self.quadratics(x)

    def quadratics(self, line: np.ndarray) -> np.ndarray:
        """The constant and all segments, of x, or of |x| where the activation is even."""
        total = np.full_like(line, self.constant)
        for first, last, slope, curve in zip(self.knots, self.knots[1:], self.slopes, self.curves):
            segment = np.clip(line, first, last) - first
            total += (slope + curve * segment) * segment
        return total


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _sigmoid_table(
    knots: tuple[float, ...], constant: float, slopes: tuple[float, ...], curves: tuple[float, ...], largest: float
) -> PiecewiseQuadratic:
    return PiecewiseQuadratic(sigmoid, False, knots, constant, slopes, curves, largest)


def _tanh_table(table: PiecewiseQuadratic) -> PiecewiseQuadratic:
    """tanh(x) = 2 sigmoid(2x) − 1."""
    return PiecewiseQuadratic(
        exact=np.tanh,
        even=False,
        knots=tuple(knot / 2 for knot in table.knots),
        constant=2 * table.constant - 1,
        slopes=tuple(4 * slope for slope in table.slopes),
        curves=tuple(8 * curve for curve in table.curves),
        largest_error=2 * table.largest_error,
    )


def _silu_table(
    knots: tuple[float, ...], constant: float, slopes: tuple[float, ...], curves: tuple[float, ...], largest: float
) -> PiecewiseQuadratic:
    return PiecewiseQuadratic(lambda x: x * sigmoid(x), True, knots, constant, slopes, curves, largest)


_SIGMOID = _sigmoid_table(
    knots=(-6.125, -3.75, -2.4375, -0.9375, 0, 0.9375, 2.4375, 3.75, 6.125),
    constant=0.0013402909,
    slopes=(-0.00016223542, 0.018094313, 0.069010287, 0.21207726, 0.25602257, 0.19791654, 0.069363844, 0.018392452),
    curves=tuple(each / 2**CURVE_BITS for each in (1, 5, 11, 6, -6, -11, -5, -1)),
    largest=0.0014,
)
_FINE_SIGMOID = _sigmoid_table(
    knots=(
        -7.1875,
        -5.6875,
        -4.125,
        -3.1875,
        -2.5,
        -1.9375,
        -0.875,
        -0.375,
        0,
        0.375,
        0.875,
        1.9375,
        2.5,
        3.1875,
        4.125,
        5.6875,
        7.1875,
    ),
    constant=0.000348959933,
    slopes=(
        0.0020131963,
        0.0019077448,
        0.014337907,
        0.036552788,
        0.069317077,
        0.10857252,
        0.20871822,
        0.24260758,
        0.25139664,
        0.24387447,
        0.2081819,
        0.10886786,
        0.068779351,
        0.036310563,
        0.014114776,
        0.0020131963,
    ),
    curves=tuple(each / 2**CURVE_BITS for each in (0, 1, 3, 6, 9, 12, 9, 3, -3, -9, -12, -9, -6, -3, -1, 0)),
    largest=0.00041,
)
_SILU = _silu_table(
    knots=(0, 0.625, 1.3125, 2.1875, 5.1875, 7.875),
    constant=-0.000126355718,
    slopes=(-0.4968121, -0.20013491, 0.01684859, 0.11040915, 0.021138058),
    curves=tuple(each / 2**CURVE_BITS for each in (61, 42, 14, -4, -1)),
    largest=0.0018,
)
_FINE_SILU = _silu_table(
    knots=(0, 0.3125, 0.625, 0.9375, 1.3125, 1.8125, 2.4375, 4.125, 5.0625, 7.3125, 8.8125),
    constant=-1.77386881e-05,
    slopes=(
        -0.49933202,
        -0.34536887,
        -0.20567466,
        -0.088692489,
        0.012764835,
        0.083831441,
        0.10395016,
        0.047007455,
        0.020719279,
        0.0024970832,
    ),
    curves=tuple(each / 2**CURVE_BITS for each in (63, 58, 48, 34, 18, 4, -4, -3, -1, 0)),
    largest=0.00068,
)


def _hard_swish(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * np.clip(x + 3, 0, 6) / 6)


_HARD_SWISH_CURVE = round(2**HARD_SWISH_BITS / 6) / 2**HARD_SWISH_BITS
_HARD_SWISH = PiecewiseQuadratic(
    exact=_hard_swish,
    even=True,
    knots=(0, 3),
    constant=0,
    slopes=(-3 * _HARD_SWISH_CURVE,),
    curves=(_HARD_SWISH_CURVE,),
    largest_error=0.00037,
    curve_bits=HARD_SWISH_BITS,
)
_SCALED_HARD_SWISH = PiecewiseQuadratic(
    exact=lambda x: HARD_SWISH_FACTOR * _hard_swish(x / HARD_SWISH_FACTOR),
    even=True,
    knots=(0, 4),
    constant=0,
    slopes=(-0.5,),
    curves=(0.125,),
    largest_error=0.0,
    curve_bits=3,
)
PIECEWISE: dict[str, PiecewiseQuadratic] = {
    "hardswish": _HARD_SWISH,
    "scaled-hardswish": _SCALED_HARD_SWISH,
    "sigmoid": _SIGMOID,
    "fine-sigmoid": _FINE_SIGMOID,
    "tanh": _tanh_table(_SIGMOID),
    "fine-tanh": _tanh_table(_FINE_SIGMOID),
    "silu": _SILU,
    "fine-silu": _FINE_SILU,
}
#: Tables with twice as many segments, for tensors so small that their comparisons do not count.
FINER = {"sigmoid": "fine-sigmoid", "tanh": "fine-tanh", "silu": "fine-silu"}
#: The factor on a function's argument and result under which another table computes it exactly.
SCALED = {"hardswish": ("scaled-hardswish", HARD_SWISH_FACTOR)}
