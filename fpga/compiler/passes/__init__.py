"""Graph passes, in the order in which they run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rrnet_nni.base.errors import Refusal

from ..graph import Graph
from .base import Pass
from .fold_affine import FoldAffine
from .polynomials import RecognizePolynomials, RemoveUnused
from .scales import ScaleTensors
from .secret_coefficients import SecretCoefficients
from .secret_norms import SecretNorms
from .simplify import AveragePoolFirst, MaxPoolBeforeRelu, MergePadding, RemoveIdentities
from .slices import CutBeforeTruncation, JoinSlices
from .smooth import RecognizeGelu, RecognizeHardSwish, RecognizeSilu, RefineSmall
from .sums import AddBeforeTruncation

#: Every pass, in order. An explicit list: the order is part of the compiler.
PASSES: tuple[Pass, ...] = (
    RemoveUnused(),
    RemoveIdentities(),
    FoldAffine(),
    RecognizeSilu(),
    RecognizeGelu(),
    RecognizeHardSwish(),
    RemoveUnused(),
    RecognizePolynomials(),
    RemoveIdentities(),
    FoldAffine(),
    MergePadding(),
    SecretCoefficients(),
    SecretNorms(),
    JoinSlices(),
    MaxPoolBeforeRelu(),
    AveragePoolFirst(),
    RefineSmall(),
    ScaleTensors(),
    AddBeforeTruncation(),
    CutBeforeTruncation(),
)
#: A pass that still changes something after so many rounds goes round in a circle.
ROUNDS_LIMIT = 1000


@dataclass(frozen=True)
class PassResult:
    """What one pass did: nodes before and after, and the graph that it left."""

    name: str
    changed: bool
    nodes_before: int
    nodes_after: int
    graph: Graph


def optional_passes() -> tuple[str, ...]:
    """Names that `--disable` takes."""
    return tuple(dict.fromkeys(item.name for item in PASSES if not item.required))


def run_passes(graph: Graph, disabled: Collection[str] = ()) -> tuple[Graph, list[PassResult]]:
    """Run every pass that is not disabled, each to its fixed point.

    Raises:
        Refusal: an unknown or required pass is disabled, or a pass refuses the graph or does not settle.
    """
    if unknown := sorted(set(disabled) - set(optional_passes())):
        raise Refusal(f"pass {unknown[0]!r} cannot be disabled: expected one of {', '.join(optional_passes())}")
    results = []
    for item in PASSES:
        if item.name in disabled:
            continue
        before, any_change = len(graph.nodes), False
        changed, rounds = True, 0
        while changed:
            if rounds == ROUNDS_LIMIT:
                raise Refusal(
                    f"the pass {item.name!r} does not settle on this graph in {ROUNDS_LIMIT} rounds: "
                    f"skip it with --disable {item.name} and report the model"
                )
            graph, changed = item.apply(graph)
            any_change |= changed
            rounds += 1
        results.append(PassResult(item.name, any_change, before, len(graph.nodes), graph))
    return graph, results


__all__ = ["PASSES", "Pass", "PassResult", "optional_passes", "run_passes"]
