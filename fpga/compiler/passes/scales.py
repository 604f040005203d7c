"""Scale tensors so that the constants between them become powers of two, which cost no product and no truncation.

A tensor t may be computed as s * t where the convolutions before and after it take the factor into their weights. For
X2act, y = k x² + w2 x + b, the factor s_x = sqrt(s_y |k|) makes the square's coefficient a power of two, so that k is
exact and the square needs no truncation of its own; for a mean over 9 pixels s_x = s_y * 16 / 9 makes the divisor 16.
Powers of two themselves are a matter of the fixed-point format, so every factor is kept near one.

Demands are collected from the readers of a tensor backwards. A sum fixes the relation of its inputs, so its demand is
hard; the demand of an operator whose own output is still free is soft, and gives way: its output then follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, TypeGuard

import numpy as np

from ...program.picks import channel_range, pick
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
    Shape,
)
from ..piecewise_tables import SCALED

#: Numbers this close to a power of two are one.
SNAP = 1e-9


@dataclass(frozen=True, eq=False)
class Demand:
    """The factor that a reader wants on a tensor: one number or one per channel."""

    factor: np.ndarray
    hard: bool


class ScaleTensors:
    """Square coefficients, divisors and scales become powers of two wherever weights can absorb the factors."""

    name: ClassVar[str] = "scale-tensors"
    gain: ClassVar[str] = "one truncation fewer for X2act and for odd average poolings"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        factors = _choose_factors(graph)
        if not _possible(graph, factors) or all(np.abs(np.log2(factor)).max() < SNAP for factor in factors.values()):
            return graph, False
        scales = {name: graph.scales.get(name, np.ones(1)) * factor for name, factor in factors.items()}
        return replace(graph, scales=scales).with_nodes(rescaled(node, factors) for node in graph.nodes), True


def _choose_factors(graph: Graph) -> dict[str, np.ndarray]:
    """One factor per tensor; the input's is 1.

    Sums follow the exact factors of smooth functions, but only of those that get theirs: the argument of others, as of
    one that reads the image, cannot be scaled.
    """
    exact = {node.output: SCALED[node.function][1] for node in graph.nodes if _has_exact_factor(node)}
    while True:
        factors = _factors_beside(graph, exact)
        reached = {name: factor for name, factor in exact.items() if (factors[name] == factor).all()}
        if len(reached) == len(exact):
            return factors
        exact = reached


def _factors_beside(graph: Graph, exact: Mapping[str, float]) -> dict[str, np.ndarray]:
    """One factor per tensor, where sums follow those of the functions in `exact`."""
    demands: dict[str, Demand] = {graph.output: Demand(np.ones(1), hard=True)}
    parts: dict[str, dict[tuple[int, int], Demand]] = {}
    for node in reversed(graph.nodes):
        if node.output in parts and node.output not in demands:
            demands[node.output] = _beside(parts[node.output], graph.shapes[node.output][0])
        wanted = demands.get(node.output, Demand(np.ones(1), hard=False))
        if isinstance(node, Combine) and not wanted.hard and (summands := exact.keys() & set(node.inputs)):
            wanted = demands[node.output] = Demand(np.array([exact[min(summands)]]), hard=True)
        taken = channel_range(node.offsets, graph.shapes[node.inputs[0]]) if isinstance(node, Pick) else None
        if taken is not None:
            parts.setdefault(node.inputs[0], {})[taken] = wanted
            continue
        for name, demand in zip(node.inputs, _input_demands(node, wanted, graph.shapes), strict=True):
            known = demands.get(name)
            if demand is not None and (known is None or (demand.hard and not known.hard)):
                demands[name] = demand
    factors: dict[str, np.ndarray] = {graph.input: np.ones(1)}
    for node in graph.nodes:
        factors[node.output] = _output_factor(node, graph.shapes, factors, demands.get(node.output))
    return factors


def _has_exact_factor(node: AnyNode) -> TypeGuard[Piecewise]:
    return isinstance(node, Piecewise) and node.function in SCALED


def _possible(graph: Graph, factors: dict[str, np.ndarray]) -> bool:
    """Logits and arguments of smooth functions must be as they are, and a clip has one ceiling for all channels."""
    clipped = [factors[node.output] for node in graph.nodes if isinstance(node, Relu) and node.ceiling is not None]
    smooth = all(_computes(node, factors) for node in graph.nodes if isinstance(node, Piecewise))
    known = all(np.isfinite(factor).all() for factor in factors.values())
    return known and smooth and (factors[graph.output] == 1).all() and all(factor.size == 1 for factor in clipped)


def _computes(node: Piecewise, factors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is a table for this factor on the argument."""
    factor = factors[node.inputs[0]]
    return bool((factor == 1).all() or (_has_exact_factor(node) and (factor == SCALED[node.function][1]).all()))


def _beside(parts: Mapping[tuple[int, int], Demand], channels: int) -> Demand:
    """What the readers of single channels want, together."""
    factor = np.ones(channels)
    for (first, end), demand in parts.items():
        factor[first:end] = demand.factor
    hard = any(demand.hard for demand in parts.values())
    return Demand(factor[:1] if (factor == factor[0]).all() else factor, hard)


def _input_demands(node: AnyNode, wanted: Demand, shapes: Mapping[str, Shape]) -> list[Demand | None]:
    """What the node wants of its inputs so that its constants become powers of two, given its output's factor."""
    factor = wanted.factor
    match node:
        case Polynomial():
            return [Demand(np.sqrt(_near_one(factor * _magnitudes(node.square))), wanted.hard)]
        case AvgPool() if factor.size == 1:
            return [Demand(_near_one(factor / node.divisor), wanted.hard)]
        case Combine():
            hard = wanted.hard or len(node.inputs) > 1
            return [Demand(_near_one(factor * _magnitudes(scale)), hard) for scale in node.scales]
        case Piecewise():
            exact = np.array([SCALED[node.function][1]]) if _has_exact_factor(node) else np.ones(1)
            return [Demand(exact if not wanted.hard or (factor == exact).all() else np.ones(1), hard=True)]
        case Relu(ceiling=ceiling) if ceiling is not None and factor.size > 1:
            return [None]
        case Relu() | PatchRelu() | MaxPool() | Pad() | AvgPool() | PixelAffine():
            return [wanted]
        case Reshape() | Concat() | Pick() if factor.size == 1:
            return [wanted] * len(node.inputs)
        case Concat():
            ends = np.cumsum([shapes[name][0] for name in node.inputs])[:-1]
            return [Demand(part, wanted.hard) for part in np.split(factor, ends)]
    return [None] * len(node.inputs)


def _output_factor(
    node: AnyNode, shapes: Mapping[str, Shape], factors: Mapping[str, np.ndarray], demand: Demand | None
) -> np.ndarray:
    """The factor of the output: what is demanded where the node can give it, else what its inputs bring."""
    first = factors[node.inputs[0]]
    hard = demand.factor if demand is not None and demand.hard else None
    match node:
        case Conv() | Linear():
            return np.ones(1) if demand is None else demand.factor
        case Piecewise():
            return first if _has_exact_factor(node) else np.ones(1)
        case Product():
            return first * factors[node.inputs[1]]
        case Polynomial():
            return _near_one(first**2 / _magnitudes(node.square)) if hard is None else hard
        case AvgPool() if first.size == 1 and (hard is None or hard.size == 1):
            return _near_one(first * node.divisor) if hard is None else hard
        case Combine() if hard is not None:
            return hard
        case Combine() if len(node.inputs) == 1:
            return _near_one(first / _magnitudes(node.scales[0]))
        case Combine():
            return np.ones(1)
        case Concat():
            channels = [np.broadcast_to(factors[name], shapes[name][:1]) for name in node.inputs]
            joined = np.concatenate(channels)
            return joined[:1] if (joined == joined[0]).all() else joined
        case Pick() if first.size > 1:
            return _picked_factor(node, shapes[node.inputs[0]], first)
        case Reshape() if first.size > 1:
            return np.repeat(first, shapes[node.output][0] // first.size)
    return first


def _picked_factor(node: Pick, source: Shape, factor: np.ndarray) -> np.ndarray:
    """The factor of every channel of the result; NaN where the words of a channel come with different ones."""
    spread = np.broadcast_to(factor.reshape(-1, *(1,) * (len(source) - 1)), source)
    picked = pick(spread[None], node.offsets).reshape(len(node.offsets[0]), -1)
    largest = picked.max(axis=1)
    least = np.where(picked == 0, largest[:, None], picked).min(axis=1)
    return np.where(largest == 0, 1.0, np.where(least == largest, largest, np.nan))


def _magnitudes(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, 1.0, np.abs(values))


def _near_one(values: np.ndarray) -> np.ndarray:
    """The values times powers of two, between 1/√2 and √2."""
    return np.asarray(values / np.exp2(np.round(np.log2(values))))


def rescaled(node: AnyNode, factors: Mapping[str, np.ndarray]) -> AnyNode:
    """The node between scaled tensors."""
    out = factors[node.output]
    into = [factors[name] for name in node.inputs]
    match node:
        case Conv() | Linear():
            return _rescaled_product(node, into[0], out)
        case Polynomial():
            return replace(
                node,
                square=_snapped(node.square * out / into[0] ** 2),
                linear=node.linear * out / into[0],
                addend=node.addend * out,
            )
        case AvgPool() if into[0].size == 1 and out.size == 1:
            return replace(node, divisor=float(_snapped(node.divisor * into[0] / out)[0]))
        case Combine():
            scales = tuple(_snapped(scale * out / factor) for scale, factor in zip(node.scales, into, strict=True))
            return replace(node, scales=scales, addend=node.addend * out)
        case PixelAffine():
            return replace(node, addend=node.addend * out.reshape(-1, 1, 1))
        case Piecewise() if (into[0] != 1).any():
            return replace(node, function=SCALED[node.function][0])
        case Relu(ceiling=ceiling) if ceiling is not None:
            return replace(node, ceiling=float(ceiling * out[0]))
    return node


def _rescaled_product(node: Conv | Linear, into: np.ndarray, out: np.ndarray) -> Conv | Linear:
    if (into == 1).all() and (out == 1).all():
        return node
    factors = into.tobytes(), out.tobytes()
    if factors not in node.copies:
        node.copies[factors] = _scaled_copy(node, into, out)
    copy = node.copies[factors]
    assert isinstance(copy, Conv | Linear)
    return copy


def _scaled_copy(node: Conv | Linear, into: np.ndarray, out: np.ndarray) -> Conv | Linear:
    outputs, per_group = node.weight.shape[:2]
    groups = node.groups if isinstance(node, Conv) else 1
    inputs = np.broadcast_to(into, (per_group * groups,)).reshape(groups, per_group)
    of_output = np.repeat(inputs, outputs // groups, axis=0)
    factor = np.broadcast_to(out, (outputs,))[:, None] / of_output
    weight = node.weight * factor.reshape(*factor.shape, *(1,) * (node.weight.ndim - 2))
    return replace(node, weight=weight, bias=node.bias * out)


def _snapped(values: np.ndarray) -> np.ndarray:
    """Powers of two exactly, where rounding left them a little beside."""
    values = np.asarray(values, dtype=np.float64)
    exponents = np.round(np.log2(np.where(values == 0, 1.0, np.abs(values))))
    powers = np.copysign(np.exp2(exponents), values)
    return np.where(np.abs(values - powers) <= SNAP * np.abs(powers), powers, values)
