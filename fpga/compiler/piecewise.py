"""Smooth activations as continuous piecewise quadratics, whose largest error over all of R is known.

f(x) is a constant and, for every segment [t_k, t_k+1], b_k s_k + a_k s_k² with s_k = clip(x, t_k, t_k+1) − t_k: a
comparison per knot and a square per segment, of numbers as small as the segment, so that nothing cancels. Beyond the
last knots it is constant, as the functions nearly are. Knots and coefficients were found by a search for the least
largest error with every a_k a multiple of 2^-8, so that no curve is rounded; only the b_k and constants are.

SiLU(x) = relu(x) + g(|x|) has an even rest g, which halves the segments; |x| = 2 relu(x) − x is no comparison more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Every a_k is a multiple of 2**-CURVE_BITS.
CURVE_BITS = 8


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
        least_bound: a range that values of this activation may always take.
    """

    exact: Callable[[np.ndarray], np.ndarray]
    even: bool
    knots: tuple[float, ...]
    constant: float
    slopes: tuple[float, ...]
    curves: tuple[float, ...]
    largest_error: float
    least_bound: float

    @property
    def comparisons(self) -> int:
        """Per element: the ReLU of an even activation stands for its first knot."""
        return len(self.knots)

    @property
    def longest_segment(self) -> float:
        """The largest number that is squared."""
        return max(b - a for a, b in zip(self.knots, self.knots[1:]))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The approximation itself, on float64."""
        line = np.abs(x) if self.even else x
        total = np.full_like(x, self.constant) + (np.maximum(x, 0) if self.even else 0)
        for first, last, slope, curve in zip(self.knots, self.knots[1:], self.slopes, self.curves):
            segment = np.clip(line, first, last) - first
            total += (slope + curve * segment) * segment
        return total


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


_SIGMOID = PiecewiseQuadratic(
    exact=sigmoid,
    even=False,
    knots=(-6.125, -3.5, -2.6875, -1.125, 0.0, 1.125, 2.6875, 3.5, 6.125),
    constant=0.00134,
    slopes=(-0.000114581, 0.0396212, 0.0554643, 0.1961201, 0.2576459, 0.177534, 0.0459692, 0.0203931),
    curves=tuple(each / 2**CURVE_BITS for each in (1, 1, 10, 7, -7, -10, -1, -1)),
    largest_error=0.0014,
    least_bound=1.01,
)
PIECEWISE: dict[str, PiecewiseQuadratic] = {
    "sigmoid": _SIGMOID,
    # tanh(x) = 2 sigmoid(2x) − 1
    "tanh": PiecewiseQuadratic(
        exact=np.tanh,
        even=False,
        knots=tuple(knot / 2 for knot in _SIGMOID.knots),
        constant=2 * _SIGMOID.constant - 1,
        slopes=tuple(4 * slope for slope in _SIGMOID.slopes),
        curves=tuple(8 * curve for curve in _SIGMOID.curves),
        largest_error=2 * _SIGMOID.largest_error,
        least_bound=1.01,
    ),
    "silu": PiecewiseQuadratic(
        exact=lambda x: x * sigmoid(x),
        even=True,
        knots=(0.0, 1.0625, 1.4375, 2.5625, 5.25, 7.875),
        constant=-0.001494,
        slopes=(-0.4788583, -0.0696558, 0.0487253, 0.098871, 0.020648),
        curves=tuple(each / 2**CURVE_BITS for each in (54, 40, 8, -4, -1)),
        largest_error=0.0018,
        least_bound=0.3,
    ),
}
