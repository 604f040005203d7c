"""From a graph with formats to the two-party program and its secret integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...program import (
    TRUNCATION_BOUND_BITS,
    AffineOp,
    ConcatOp,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    PadOp,
    PickOp,
    Program,
    ReluOp,
    ReshapeOp,
    SelectOp,
    SquareOp,
    SumPoolOp,
)
from ...program import operators as shapes
from ...program.patches import patch_grid
from ..graph import (
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
    Shape,
    is_plain_square,
)
from .formats import Formats, is_exact, weight_bits_wanted
from .lower_products import lower_mul, lower_piecewise
from .lowering import Lowering

#: Multipliers of the alu keep this many bits beyond what the format asks for.
MULTIPLIER_BITS = 15
#: A polynomial's constants may be off by this part of its range before its square is truncated on its own.
POLYNOMIAL_TOLERANCE = 2.0**-9


def lower(graph: Graph, formats: Formats, constants: bool = True) -> tuple[Program, dict[str, np.ndarray]]:
    """The program and its int32 constants by name, none where they are not asked for."""
    state = Lowering(graph, formats, constants)
    state.declare(graph.input, graph.shapes[graph.input], formats.caps[graph.input])
    for node in graph.nodes:
        _LOWER[type(node)](state, node)
    program = Program(
        name=graph.name,
        input=graph.input,
        output=graph.output,
        tensors=state.tensors,
        constants=state.constants,
        operations=tuple(state.operations),
        source=graph.source,
        head=graph.head,
    )
    return program, state.weights


def _integers(values: np.ndarray, bits: int) -> tuple[int, ...]:
    """round(values * 2**bits), one number where all channels agree."""
    words = [int(word) for word in np.rint(np.ldexp(values, bits))]
    return (words[0],) if len(set(words)) == 1 else tuple(words)


def _lower_product(state: Lowering, node: Conv | Linear) -> None:
    source = node.inputs[0]
    budget = state.formats.product_budgets[node.output] - state.fraction_bits(source)
    weight_bits = min(budget, weight_bits_wanted(node) + state.formats.spare_weight_bits)
    bits = state.fraction_bits(source) + weight_bits
    weight = state.constant(f"{node.name}.weight", node.weight, weight_bits, node.reach)
    bias = state.constant(f"{node.name}.bias", node.bias, bits) if node.bias.any() else None
    if isinstance(node, Conv):
        geometry: dict[str, Any] = {"stride": node.stride, "padding": node.padding, "groups": node.groups}
        state.emit_product(ConvOp, node, (source,), bits, weight=weight, bias=bias, **geometry)
    else:
        state.emit_product(LinearOp, node, (source,), bits, weight=weight, bias=bias)


def _lower_combine(state: Lowering, node: Combine) -> None:
    have = [state.fraction_bits(name) for name in node.inputs]
    cap, budget = state.formats.caps[node.output], state.formats.budgets[node.output]
    if all(is_exact(scale) for scale in node.scales):
        # ±2**n: the format that makes every multiplier an integer is exact
        bits = max(f - int(np.log2(np.abs(scale)).min()) for f, scale in zip(have, node.scales, strict=True))
        bits = max(bits, min(cap, budget)) if node.addend.any() else bits
        if bits > budget:
            bits = budget
    else:
        bits = min(budget, max(have) + MULTIPLIER_BITS)
    multipliers = tuple(_integers(scale, bits - f) for f, scale in zip(have, node.scales, strict=True))
    addend = _integers(node.addend, bits)
    state.emit_product(AffineOp, node, node.inputs, bits, multipliers=multipliers, addend=addend)


def _lower_polynomial(state: Lowering, node: Polynomial) -> None:
    """Square (Eq. 3), then k, w2 and b locally; the square is truncated first where k would vanish otherwise."""
    source, shape = node.inputs[0], state.graph.shapes[node.output]
    if is_plain_square(node):
        state.emit_product(SquareOp, node, (source,), 2 * state.fraction_bits(source))
        return
    have, bits = state.fraction_bits(source), state.formats.budgets[node.output]
    reach = state.formats.bounds[source]
    tolerance = max(2.0 ** -state.formats.caps[node.output], state.formats.bounds[node.output] * POLYNOMIAL_TOLERANCE)
    dropped = 0
    if _polynomial_error(node, reach, have, bits, 0) > tolerance:
        most = min(2 * have, TRUNCATION_BOUND_BITS)
        dropped = min(range(1, most + 1), key=lambda t: _polynomial_error(node, reach, have, bits, t), default=0)
    square = state.emit(SquareOp, f"{node.name}.square", (source,), f"{node.output}.square", shape, 2 * have)
    if dropped:
        state.truncate(node, square, f"{node.output}.square_short", dropped)
        square = f"{node.output}.square_short"
    square_bits = 2 * have - dropped
    multipliers = (_integers(node.square, bits - square_bits), _integers(node.linear, bits - have))
    state.emit_product(
        AffineOp,
        node,
        (square, source),
        bits,
        name=f"{node.name}.polynomial",
        multipliers=multipliers,
        addend=_integers(node.addend, bits),
    )


def _polynomial_error(node: Polynomial, reach: float, have: int, bits: int, dropped: int) -> float:
    """Largest error of k x² + w2 x from rounding k, w2 and, where bits are dropped, x²."""
    square_bits = 2 * have - dropped
    k_error = np.abs(_rounded(node.square, bits - square_bits) - node.square) * reach**2
    linear_error = np.abs(_rounded(node.linear, bits - have) - node.linear) * reach
    rounding = np.abs(node.square) * 2.0**-square_bits if dropped else 0.0
    return float(np.max(k_error + linear_error + rounding))


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    return np.asarray(np.ldexp(np.rint(np.ldexp(values, bits)), -bits))


def _lower_relu(state: Lowering, node: Relu) -> None:
    """ReLU6 is relu(x) - relu(x - 6): two comparisons on one opened word, since x - 6 is open where x is."""
    source, shape = node.inputs[0], state.graph.shapes[node.output]
    bits = state.fraction_bits(source)
    if node.ceiling is None:
        state.emit(ReluOp, node.name, (source,), node.output, shape, bits)
        return
    ceiling = int(np.rint(np.ldexp(node.ceiling, bits)))
    low = state.emit(ReluOp, f"{node.name}.low", (source,), f"{node.output}.low", shape, bits)
    above = state.emit(
        AffineOp,
        f"{node.name}.shift",
        (source,),
        f"{node.output}.shifted",
        shape,
        bits,
        multipliers=((1,),),
        addend=(-ceiling,),
    )
    high = state.emit(ReluOp, f"{node.name}.high", (above,), f"{node.output}.high", shape, bits)
    state.emit(AffineOp, node.name, (low, high), node.output, shape, bits, multipliers=((1,), (-1,)))


def _lower_patch_relu(state: Lowering, node: PatchRelu) -> None:
    """The sums of the patches, whose signs choose."""
    source, shape = node.inputs[0], state.graph.shapes[node.output]
    bits, sums = state.fraction_bits(source), shapes.PatchRelu(shape[0], shape[1], shape[2], node.patch).sums
    geometry: dict[str, Any] = {"kernel": sums.kernel, "stride": sums.stride, "padding": sums.padding}
    total = state.emit(
        SumPoolOp,
        f"{node.name}.sums",
        (source,),
        f"{node.output}.sums",
        patch_grid(shape, node.patch),
        bits,
        **geometry,
    )
    state.emit(SelectOp, node.name, (source, total), node.output, shape, bits, patch=node.patch)


def _lower_max_pool(state: Lowering, node: MaxPool) -> None:
    source = node.inputs[0]
    geometry = {"kernel": node.kernel, "stride": node.stride, "padding": node.padding}
    shape = state.graph.shapes[node.output]
    state.emit(MaxPoolOp, node.name, (source,), node.output, shape, state.fraction_bits(source), **geometry)


def _lower_avg_pool(state: Lowering, node: AvgPool) -> None:
    """The divisor lies in the format where it is a power of two, else in a multiplier with a truncation."""
    source, shape = node.inputs[0], state.graph.shapes[node.output]
    have, budget = state.fraction_bits(source), state.formats.budgets[node.output]
    geometry: dict[str, Any] = {"kernel": node.kernel, "stride": node.stride, "padding": node.padding}
    if is_exact(np.array([node.divisor])):
        state.emit_product(SumPoolOp, node, (source,), have + round(math.log2(node.divisor)), **geometry)
        return
    total = state.emit(SumPoolOp, f"{node.name}.sum", (source,), f"{node.output}.sum", shape, have, **geometry)
    bits = min(budget, have + MULTIPLIER_BITS)
    multiplier = _integers(np.array([1.0 / node.divisor]), bits - have)
    state.emit_product(AffineOp, node, (total,), bits, multipliers=(multiplier,))


def _lower_concat(state: Lowering, node: Concat) -> None:
    bits = max(state.fraction_bits(name) for name in node.inputs)
    inputs = tuple(state.aligned(node, name, bits) for name in node.inputs)
    state.emit(ConcatOp, node.name, inputs, node.output, state.graph.shapes[node.output], bits)


def _lower_pad(state: Lowering, node: Pad) -> None:
    shape, bits = state.graph.shapes[node.output], state.fraction_bits(node.inputs[0])
    state.emit(PadOp, node.name, node.inputs, node.output, shape, bits, padding=node.padding)


def _lower_reshape(state: Lowering, node: Reshape) -> None:
    shape, bits = state.graph.shapes[node.output], state.fraction_bits(node.inputs[0])
    state.emit(ReshapeOp, node.name, node.inputs, node.output, shape, bits)


def _lower_pick(state: Lowering, node: Pick) -> None:
    """Of what is untruncated, each pick truncates its own words."""
    source = node.inputs[0]
    if source in state.graph.deferred:
        state.emit_product(PickOp, node, node.inputs, state.fraction_bits(source), offsets=node.offsets)
        return
    shape, bits = state.graph.shapes[node.output], state.fraction_bits(source)
    state.emit(PickOp, node.name, node.inputs, node.output, shape, bits, offsets=node.offsets)


def _lower_pixel_affine(state: Lowering, node: PixelAffine) -> None:
    """Scales that are integers or ±2**n lie in the format, others in multipliers with a truncation."""
    shape, have = state.graph.shapes[node.output], state.fraction_bits(node.inputs[0])
    budget = state.formats.budgets[node.output]
    scales = np.abs(node.scale[node.scale != 0])
    exact = is_exact(scales)
    bits = have - int(np.log2(scales.min(initial=1.0))) if exact else have + MULTIPLIER_BITS
    bits = max(bits, min(state.formats.caps[node.output], budget)) if node.addend.any() else bits
    multiplier, addend = (
        _integers(_per_element(values, shape), f)
        for values, f in ((node.scale, min(bits, budget) - have), (node.addend, min(bits, budget)))
    )
    state.emit_product(AffineOp, node, node.inputs, min(bits, budget), multipliers=(multiplier,), addend=addend)


def _per_element(values: np.ndarray, shape: Shape) -> np.ndarray:
    """One number, one per pixel, or one per element, so that a row of this length cannot mean another axis."""
    if np.ptp(values) == 0:
        return values.reshape(-1)[:1]
    pixels = values.shape[1] * values.shape[2]
    whole = values.shape[0] == shape[0] or pixels == shape[0]
    return np.broadcast_to(values, shape if whole else values.shape).reshape(-1)


_LOWER: dict[type, Callable[[Lowering, Any], None]] = {
    Conv: _lower_product,
    Linear: _lower_product,
    Combine: _lower_combine,
    Product: lower_mul,
    Piecewise: lower_piecewise,
    Polynomial: _lower_polynomial,
    Relu: _lower_relu,
    PatchRelu: _lower_patch_relu,
    MaxPool: _lower_max_pool,
    AvgPool: _lower_avg_pool,
    Concat: _lower_concat,
    Pad: _lower_pad,
    Pick: _lower_pick,
    PixelAffine: _lower_pixel_affine,
    Reshape: _lower_reshape,
}
