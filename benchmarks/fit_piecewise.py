"""Knots and coefficients of `rrnet_nni/fpga/compiler/piecewise.py`, found by a search with fixed seeds.

    python benchmarks/fit_piecewise.py              every table, as Python
    python benchmarks/fit_piecewise.py silu 5       one function with so many segments

Arguments of activations are small numbers far more often than large ones, so that what counts is not the largest error
but, for arguments from N(0, s²), the error's root mean square as a part of the function's. Minimized is the largest of
that over s from 1/4 to 4, as long as the largest error of all stays below a cap. Given the knots, multiples of 1/16, it
is a least squares fit; curves are rounded to multiples of 2^-8, and slopes are fitted once more with these.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rrnet_nni.fpga.compiler.piecewise import CURVE_BITS, elu, erf, gelu, mish, sigmoid, softplus

SPREADS = (0.25, 0.5, 1.0, 2.0, 4.0)
KNOT_STEP, LEAST_SEGMENT, END = 16, 0.12, 14.0
TRIALS = 6000
CURVE_UNITS = 2**CURVE_BITS


@dataclass(frozen=True)
class Target:
    """A function to fit, or what it adds to relu(x).

    Attributes:
        exact: the function itself.
        sides: what is fitted: the `even` rest as a function of |x|, the rest of negative x alone (`left`), the rest on
            `both` sides of a knot at 0, or the function itself with knots as far `odd`.
        segments: how many, on both sides together.
        cap: the largest error that costs nothing.
        last_knot: where the search's first knots end.
    """

    name: str
    exact: Callable[[np.ndarray], np.ndarray]
    sides: str
    segments: int
    cap: float
    last_knot: float

    @property
    def even(self) -> bool:
        return self.sides == "even"

    def fitted(self, x: np.ndarray) -> np.ndarray:
        """What the segments are to give at x."""
        return np.asarray(self.exact(x) - (0.0 if self.sides == "odd" else np.maximum(x, 0.0)))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


TARGETS = (
    Target("silu", silu, "even", 5, 0.0018, 9.0),
    Target("silu", silu, "even", 10, 0.0007, 9.0),
    Target("sigmoid", sigmoid, "odd", 8, 0.0014, 7.0),
    Target("sigmoid", sigmoid, "odd", 16, 0.0004, 7.0),
    Target("gelu", gelu, "even", 5, 0.0018, 4.5),
    Target("softplus", softplus, "even", 5, 0.0018, 8.0),
    Target("erf", erf, "odd", 8, 0.0028, 3.0),
    Target("elu", elu, "left", 5, 0.0018, 7.0),
    Target("mish", mish, "both", 9, 0.0018, 7.0),
)


@dataclass(frozen=True)
class Fit:
    """Knots and coefficients, with the largest error and what is minimized: the relative one, beyond the cap more."""

    knots: np.ndarray
    constant: float
    slopes: np.ndarray
    curves: np.ndarray
    largest: float
    score: float


class Search:
    """A random walk over knots."""

    def __init__(self, target: Target) -> None:
        self.target = target
        first, last = 0.0 if target.even else -END, 0.0 if target.sides == "left" else END
        self.x = np.linspace(first, last, 1121 if last > 0 > first else 561)
        self.wanted = target.fitted(self.x)
        # rounding is measured by the activation on both sides of zero, for what only one side is fitted to as well
        size = np.sqrt(0.5 * (target.exact(self.x) ** 2 + target.exact(-self.x) ** 2))
        if target.sides == "odd":
            size = target.exact(self.x)
        densities = np.exp(-0.5 * (self.x / np.array(SPREADS)[:, None]) ** 2)
        self.densities = densities / (densities * size**2).sum(axis=1, keepdims=True)
        weights = self.densities.sum(axis=0)
        self.weights = weights / weights.max() + 1e-6

    def fit(self, knots: np.ndarray) -> Fit:
        """The best coefficients for these knots."""
        segments = np.stack([np.clip(self.x, a, b) - a for a, b in itertools.pairwise(knots)], axis=1)
        lines = np.concatenate([np.ones((len(self.x), 1)), segments], axis=1)
        free = self._least_squares(np.concatenate([lines, segments**2], axis=1), self.wanted)
        curves = np.rint(free[lines.shape[1] :] * CURVE_UNITS)
        rest = self.wanted - segments**2 @ (curves / CURVE_UNITS)
        coefficients = self._least_squares(lines, rest)
        error = lines @ coefficients - rest
        relative = float(np.sqrt((self.densities * error**2).sum(axis=1)).max())
        largest = float(np.abs(error).max())
        penalty = 1 + 5 * max(0.0, largest / self.target.cap - 1)
        return Fit(knots, float(coefficients[0]), coefficients[1:], curves, largest, relative * penalty)

    def _least_squares(self, columns: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Weighted; where the cap is passed, the places that pass it weigh more and more."""
        weights, found = self.weights, np.empty(0)
        for _ in range(6):
            root = np.sqrt(weights)
            found = np.linalg.lstsq(columns * root[:, None], wanted * root, rcond=None)[0]
            beyond = np.abs(columns @ found - wanted) / self.target.cap
            if beyond.max() <= 1.001:
                break
            weights = self.weights * (1 + beyond**8)
        return np.asarray(found)

    def run(self, seed: int = 0) -> Fit:
        generator = np.random.default_rng(seed)
        current = best = self.fit(self._first_knots())
        step = 0.25
        for trial in range(TRIALS):
            knots = self._moved(current.knots, step, generator)
            if np.diff(knots).min() < LEAST_SEGMENT:
                continue
            found = self.fit(knots)
            slack = 0.02 * generator.random() if step > 0.05 else 0.0
            if found.score < current.score * (1 + slack):
                current = found
            best = min(best, found, key=lambda each: each.score)
            step = max(0.03, step * 0.998)
            if trial % 500 == 499:
                current, step = best, 0.2
        return best

    def _first_knots(self) -> np.ndarray:
        """Where the third derivative asks for them."""
        grid, h = np.linspace(0, self.target.last_knot, 4000), 1e-2

        def value(x: np.ndarray) -> np.ndarray:
            return self.target.fitted(-x if self.target.sides in ("left", "both") else x)

        third = value(grid + 2 * h) - 2 * value(grid + h) + 2 * value(grid - h) - value(grid - 2 * h)
        density = np.cumsum(np.abs(third / (2 * h**3)) ** (1 / 3) + 1e-3)
        one_side = self.target.sides in ("even", "left")
        half = self.target.segments if one_side else (self.target.segments + 1) // 2
        knots = self._on_grid(np.interp(np.linspace(0, 1, half + 1), density / density[-1], grid))
        if self.target.sides == "even":
            return knots
        right = {"left": knots[:1], "odd": knots, "both": knots[: self.target.segments - half + 1]}
        return np.concatenate([-knots[:0:-1], right[self.target.sides]])

    def _on_grid(self, knots: np.ndarray) -> np.ndarray:
        """Distances from zero, ascending, the first of which stays there."""
        rounded = np.round(np.sort(knots) * KNOT_STEP) / KNOT_STEP
        rounded[0] = 0.0
        return rounded

    def _moved(self, knots: np.ndarray, step: float, generator: np.random.Generator) -> np.ndarray:
        def moved(distances: np.ndarray) -> np.ndarray:
            moving = generator.random(len(distances) - 1) < 0.5
            factors = np.exp(step * generator.normal(size=len(distances) - 1) * moving)
            return self._on_grid(np.concatenate([distances[:1], distances[1:] * factors]))

        positive = moved(knots[knots >= 0])
        if self.target.sides == "even":
            return positive
        negative = positive if self.target.sides == "odd" else moved(-knots[knots <= 0][::-1])
        return np.concatenate([-negative[:0:-1], positive])


def shown(target: Target, fit: Fit) -> str:
    def listed(values: np.ndarray, form: str) -> str:
        return "(" + ", ".join(format(value, form) for value in values) + ")"

    return "\n".join(
        [
            f"{target.name}, {target.segments} segments: off by {fit.largest:.6f} at most, by {fit.score:.6f} relative",
            f"    knots={listed(fit.knots, 'g')},",
            f"    constant={fit.constant:.9g},",
            f"    slopes={listed(fit.slopes, '.8g')},",
            f"    curves={listed(fit.curves, '.0f')} / 2**{CURVE_BITS},",
        ]
    )


def main(arguments: list[str]) -> int:
    targets = {f"{target.name} {target.segments}": target for target in TARGETS}
    wanted = " ".join(arguments)
    if wanted and wanted not in targets:
        sys.stderr.write(f"fit_piecewise.py: no table of {wanted!r}: expected one of {', '.join(targets)}\n")
        return 2
    for target in [targets[wanted]] if wanted else TARGETS:
        print(shown(target, Search(target).run()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
