"""Lowering of products of two secrets, and of piecewise quadratics to comparisons and squares."""

from __future__ import annotations

import numpy as np

from ...program import AffineOp, MulOp, ReluOp, SquareOp
from ..graph import Piecewise, Product
from ..piecewise_tables import PIECEWISE
from .lowering import UNTRUNCATED, Lowering


def lower_mul(state: Lowering, node: Product) -> None:
    """The fraction bits of both factors add up; formats saw to it that they fit."""
    bits = sum(state.fraction_bits(name) for name in node.inputs)
    state.emit_product(MulOp, node, node.inputs, bits)


def lower_piecewise(state: Lowering, node: Piecewise) -> None:
    """A comparison per knot, a square per segment, and one truncation of their sum (`piecewise.PiecewiseQuadratic`).

    Where relu(x) is added, it is behind the truncation: however large x is, the sum of the segments keeps its bits.
    """
    table, source, shape = PIECEWISE[node.function], node.inputs[0], state.graph.shapes[node.output]
    have, bits = state.fraction_bits(source), table.sum_bits(state.formats.bounds[source])

    def relu(label: str, name: str) -> str:
        return state.emit(ReluOp, f"{node.name}.{label}", (name,), f"{node.output}.{label}", shape, have)

    def affine(label: str, names: tuple[str, ...], multipliers: tuple[int, ...], addend: int = 0) -> str:
        rows = tuple((multiplier,) for multiplier in multipliers)
        output = f"{node.output}.{label}"
        fields = {"multipliers": rows, "addend": (addend,)}
        return state.emit(AffineOp, f"{node.name}.{label}", names, output, shape, have, **fields)

    line, positive, above, summands, multipliers = source, "", [], [], []
    if table.even:
        positive = relu("positive", source)
        line = affine("magnitude", (positive, source), (2, -1))
        above.append(line)
    for place, knot in enumerate(table.knots[len(above) :], start=len(above)):
        shifted = affine(f"knot{place}", (line,), (1,), -_word(knot, have)) if knot else line
        above.append(relu(f"above{place}", shifted))
        if table.rectified and not knot:
            positive = above[-1]
    for place, (slope, curve) in enumerate(zip(table.slopes, table.curves, strict=True)):
        segment = affine(f"segment{place}", (above[place], above[place + 1]), (1, -1))
        summands.append(segment)
        multipliers.append(_word(slope, bits - have))
        if curve:
            output = f"{node.output}.square{place}"
            summands.append(state.emit(SquareOp, f"{node.name}.square{place}", (segment,), output, shape, 2 * have))
            multipliers.append(_word(curve, bits - 2 * have))
    rows = tuple((multiplier,) for multiplier in multipliers)
    fields = {"multipliers": rows, "addend": (_word(table.constant, bits),)}
    if not table.grows:
        state.emit_product(AffineOp, node, tuple(summands), bits, name=f"{node.name}.sum", **fields)
        return
    total, rest = f"{node.output}.rest{UNTRUNCATED}", f"{node.output}.rest"
    state.emit(AffineOp, f"{node.name}.sum", tuple(summands), total, shape, bits, **fields)
    state.truncate(node, total, rest, bits - have)
    state.emit(AffineOp, node.name, (positive, rest), node.output, shape, have, multipliers=((1,), (1,)))


def _word(value: float, bits: int) -> int:
    return int(np.rint(np.ldexp(value, bits)))
