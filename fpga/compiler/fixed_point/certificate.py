"""Proof, tensor by tensor, that the fixed-point program stays in its ring on calibration images, and how far off it is.

The program is executed with rounding noise, as the parties will, beside the graph in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...program import TRUNCATION_BOUND_BITS, Program
from ...program.reference import decode, walk_reference
from ..float_interpreter import walk_float
from ..graph import Graph, Piecewise
from ..piecewise_tables import PIECEWISE
from .calibration import Calibration, UnfitRange
from .lowering import UNTRUNCATED

#: Half a bit of the headroom may be eaten by noise and unseen images of the sample, not more.
LEAST_MARGIN_BITS = 0.5
#: An image whose tensor is smaller than this part of the sample's counts as one that is not.
SMALLEST_IMAGE = 1 / 256
#: How much more other images may lose than those of the sample.
ESTIMATE_MARGIN = 1.5


@dataclass(frozen=True)
class Certificate:
    """One tensor: real range seen, real range allowed in its ring, and the margin between them in bits."""

    tensor: str
    fraction_bits: int
    seen: float
    allowed: float
    margin_bits: float
    ring_bits: int


@dataclass(frozen=True)
class LayerError:
    """Difference of one tensor between fixed point and floating point, over the sample.

    `worst_image_error` is the root mean square of the image that loses most, `worst_share` the largest part of its own
    root mean square that an image loses.
    """

    tensor: str
    rms_error: float
    worst_image_error: float
    worst_share: float
    largest_error: float
    rms_value: float


@dataclass(frozen=True)
class Approximation:
    """An activation as piecewise quadratics: how far off they may be anywhere, fixed point not counted."""

    node: str
    function: str
    largest_error: float


def approximations(graph: Graph) -> list[Approximation]:
    """Every approximated activation of the graph; the error budget counts what they lose too."""
    return [
        Approximation(node.name, node.function, PIECEWISE[node.function].largest_error)
        for node in graph.nodes
        if isinstance(node, Piecewise) and PIECEWISE[node.function].largest_error
    ]


def certify(
    graph: Graph, program: Program, weights: Mapping[str, np.ndarray], calibration: Calibration
) -> tuple[list[Certificate], list[LayerError]]:
    """Execute the sample in fixed point and compare; what the calibration has as `exact` is forgotten by this.

    Raises:
        Refusal: a tensor comes too close to the end of its range; names it.
    """
    exact = calibration.exact or dict(walk_float(graph, calibration.sample))
    certificates, errors = [], []
    for name, words in walk_reference(program, weights, calibration.sample):
        tensor, signed = program.tensor(name), words.view(np.int32)
        reached = math.ldexp(max(int(signed.max()), -int(signed.min())), -tensor.fraction_bits)
        seen = max(reached, calibration.seen.get(name.removesuffix(UNTRUNCATED), 0.0))
        allowed = 2.0 ** (tensor.ring_bits - 2 - tensor.fraction_bits)
        margin = math.log2(allowed / seen) if seen else float(TRUNCATION_BOUND_BITS)
        if margin < LEAST_MARGIN_BITS:
            raise UnfitRange(
                f"tensor {name!r} reaches {seen:.4g} of {allowed:.4g} allowed with {tensor.fraction_bits} fraction "
                f"bits in a ring of {tensor.ring_bits}: no fixed-point format fits"
            )
        certificates.append(Certificate(name, tensor.fraction_bits, seen, allowed, round(margin, 3), tensor.ring_bits))
        if name in exact:
            errors.append(_layer_error(name, decode(words, tensor.fraction_bits), exact.pop(name)))
    exact.clear()
    return certificates, errors


def _layer_error(name: str, values: np.ndarray, exact: np.ndarray) -> LayerError:
    """Of float64 `values`, which are overwritten: these are the largest arrays of a compilation."""
    difference = np.subtract(values, exact, out=values)
    largest = max(float(difference.max()), -float(difference.min()))
    squares = (np.square(difference, out=difference), np.square(exact, dtype=np.float64))
    lost, sizes = (np.sqrt(np.mean(each.reshape(len(each), -1), axis=1)) for each in squares)
    size = float(np.sqrt(np.mean(sizes**2)))
    shares = lost / np.maximum(sizes, SMALLEST_IMAGE * size) if size else np.zeros(1)
    return LayerError(name, float(np.sqrt(np.mean(lost**2))), float(lost.max()), float(shares.max()), largest, size)


def estimated_error(error: LayerError) -> float:
    """How far other images may be off, by the size of the tensor: what most sets of images stay below.

    They may be like the image of the sample that loses most; the sample is small, so half as much again is added.
    """
    return ESTIMATE_MARGIN * error.worst_share


def certificate_rows(certificates: list[Certificate]) -> list[dict[str, Any]]:
    """For report.json."""
    return [asdict(certificate) for certificate in certificates]


def error_rows(errors: list[LayerError]) -> list[dict[str, Any]]:
    """For report.json; six significant digits, so that the last bits of floating point do not show."""
    return [
        {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in asdict(error).items()}
        for error in errors
    ]
