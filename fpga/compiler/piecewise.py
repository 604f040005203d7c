"""Smooth activations as continuous piecewise quadratics, whose largest error over all of R is known.

f(x) is a constant and, for every segment [t_k, t_k+1], b_k s_k + a_k s_k² with s_k = clip(x, t_k, t_k+1) − t_k: a
comparison per knot and a square per segment, of numbers as small as the segment, so that nothing cancels. Beyond the
last knots it is constant, as the functions nearly are. Every a_k is a multiple of a power of two, so that no curve is
rounded; only the b_k and constants are. The tables are in `piecewise_tables.py`.

SiLU(x) = relu(x) + g(|x|) has an even rest g, which halves the segments; |x| = 2 relu(x) − x is no comparison more. The
rests of GELU and Softplus are even too; those of ELU and Mish are not, and are functions of x. The
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
#: Where the reach of a sum is looked for, and what is allowed beyond: the certificate asks for half a bit.
REACH_POINTS, REACH_MARGIN = 1001, 1.45
_ERF = np.frompyfunc(math.erf, 1, 1)


@dataclass(frozen=True)
class PiecewiseQuadratic:
    """One activation.

    Attributes:
        exact: what it approximates, on float64.
        even: it is relu(x) + the quadratics of |x|; the first knot is then 0, which takes no comparison.
        rectified: it is relu(x) + the quadratics of x; the ReLU is the comparison of the knot at 0.
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
    rectified: bool = False

    @property
    def grows(self) -> bool:
        """Whether it reaches as far as its input: relu(x) is added behind the truncation of the quadratics."""
        return self.even or self.rectified

    @property
    def comparisons(self) -> int:
        """Per element: the ReLU of an even activation stands for its first knot."""
        return len(self.knots)

    def sum_bits(self, bound: float) -> int:
        """Fraction bits with which the quadratics of |x| <= bound are added up: as many as one truncation allows."""
        return math.floor(TRUNCATION_BOUND_BITS - math.log2(self.reach(bound)))

    def reach(self, bound: float) -> float:
        """How far the quadratics' sum goes for |x| <= bound; beyond the last knots it is constant."""
        first, last = max(-bound, self.knots[0]), min(bound, self.knots[-1])
        x = np.linspace(0.0 if self.even else first, last, REACH_POINTS)
        return REACH_MARGIN * float(np.abs(self.quadratics(x)).max())

    def input_bits(self, bound: float) -> int:
        """Fraction bits that |x| <= bound may have: squares stay in the ring, and curves are integers beside them."""
        longest = min(bound, max(b - a for a, b in zip(self.knots, self.knots[1:])))
        square_fits = (TRUNCATION_BOUND_BITS - 1) / 2 - math.log2(longest)
        return min(math.floor(square_fits), (self.sum_bits(bound) - self.curve_bits) // 2)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The approximation itself, on float64."""
        positive = np.maximum(x, 0) if self.grows else 0.0
        return np.asarray(positive + self.quadratics(np.abs(x) if self.even else x))

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


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), without overflow."""
    return np.asarray(np.logaddexp(0.0, x))


def mish(x: np.ndarray) -> np.ndarray:
    """x tanh(softplus(x))."""
    return np.asarray(x * np.tanh(softplus(x)))


def elu(x: np.ndarray) -> np.ndarray:
    """x, and exp(x) − 1 where it is negative."""
    return np.asarray(np.maximum(x, 0.0) + np.expm1(np.minimum(x, 0.0)))


def erf(x: np.ndarray) -> np.ndarray:
    """The error function; numpy has none."""
    return np.asarray(_ERF(x), dtype=np.float64)


def gelu(x: np.ndarray) -> np.ndarray:
    """x Φ(x), with the distribution function of N(0, 1)."""
    return np.asarray(0.5 * x * (1.0 + erf(x / math.sqrt(2.0))))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """GELU as its approximation by a tanh."""
    return np.asarray(0.5 * x * (1.0 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
