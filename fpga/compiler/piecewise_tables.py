"""The tables of piecewise quadratics by the names of their activations; `benchmarks/fit_piecewise.py` finds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .piecewise import CURVE_BITS, PiecewiseQuadratic, elu, erf, gelu, gelu_tanh, mish, sigmoid, softplus

HARD_SWISH_BITS = 11
#: HardSwish of tensors that are computed as this multiple has powers of two as coefficients.
HARD_SWISH_FACTOR = 4 / 3


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


def _curves(*multiples: int) -> tuple[float, ...]:
    return tuple(each / 2**CURVE_BITS for each in multiples)


_SIGMOID = _sigmoid_table(
    knots=(-6.125, -3.75, -2.4375, -0.9375, 0, 0.9375, 2.4375, 3.75, 6.125),
    constant=0.0013402909,
    slopes=(-0.00016223542, 0.018094313, 0.069010287, 0.21207726, 0.25602257, 0.19791654, 0.069363844, 0.018392452),
    curves=_curves(1, 5, 11, 6, -6, -11, -5, -1),
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
    curves=_curves(0, 1, 3, 6, 9, 12, 9, 3, -3, -9, -12, -9, -6, -3, -1, 0),
    largest=0.00041,
)
_SILU = _silu_table(
    knots=(0, 0.625, 1.3125, 2.1875, 5.1875, 7.875),
    constant=-0.000126355718,
    slopes=(-0.4968121, -0.20013491, 0.01684859, 0.11040915, 0.021138058),
    curves=_curves(61, 42, 14, -4, -1),
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
    curves=_curves(63, 58, 48, 34, 18, 4, -4, -3, -1, 0),
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
_GELU = PiecewiseQuadratic(
    exact=gelu,
    even=True,
    knots=(0, 0.375, 0.6875, 1.125, 1.875, 3.25),
    constant=-8.44501038e-05,
    slopes=(-0.49697176, -0.21061277, -0.018518774, 0.12174192, 0.082071368),
    curves=_curves(98, 77, 41, 0, -8),
    largest_error=0.0018,
)
_SOFTPLUS = PiecewiseQuadratic(
    exact=softplus,
    even=True,
    knots=(0, 0.875, 1.6875, 2.5, 3.625, 6.125),
    constant=0.692848689,
    slopes=(-0.49622768, -0.28938408, -0.15352384, -0.069317349, -0.019421366),
    curves=_curves(30, 22, 13, 5, 1),
    largest_error=0.0014,
)
_ERF = PiecewiseQuadratic(
    exact=erf,
    even=False,
    knots=(-2.125, -1.5, -0.8125, -0.3125, 0, 0.3125, 0.8125, 1.5, 2.125),
    constant=-0.99951161,
    slopes=(0.0065661307, 0.07725733, 0.60404243, 1.0434021, 1.1434998, 1.0337299, 0.54454249, 0.10422238),
    curves=_curves(20, 87, 110, 41, -41, -110, -87, -20),
    largest_error=0.0024,
)
_ELU = PiecewiseQuadratic(
    exact=elu,
    even=False,
    rectified=True,
    knots=(-6.1875, -3.625, -2.1875, -1.125, -0.4375, 0),
    constant=-0.999181655,
    slopes=(0.00023152724, 0.014996967, 0.091331378, 0.30277662, 0.63437231),
    curves=_curves(1, 8, 26, 61, 102),
    largest_error=0.0018,
)
_MISH = PiecewiseQuadratic(
    exact=mish,
    even=False,
    rectified=True,
    knots=(-8.0625, -4.5625, -2, -1.125, -0.5625, 0, 0.5625, 1.0625, 2.1875, 4.125),
    constant=-0.000262894637,
    slopes=(
        0.00031373408,
        -0.039786425,
        -0.12968469,
        0.004704509,
        0.2482619,
        -0.39165759,
        -0.079644344,
        0.084101197,
        0.044043369,
    ),
    curves=_curves(-1, -4, 19, 55, 79, 73, 39, -1, -3),
    largest_error=0.0029,
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
    "gelu": _GELU,
    "gelu-tanh": replace(_GELU, exact=gelu_tanh, largest_error=0.0019),
    "softplus": _SOFTPLUS,
    "erf": _ERF,
    "elu": _ELU,
    "mish": _MISH,
}
#: Tables with twice as many segments, for tensors so small that their comparisons do not count.
FINER = {"sigmoid": "fine-sigmoid", "tanh": "fine-tanh", "silu": "fine-silu"}
#: The factor on a function's argument and result under which another table computes it exactly.
SCALED = {"hardswish": ("scaled-hardswish", HARD_SWISH_FACTOR)}
