"""Ranges of every tensor, from images or from a stated assumption about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rrnet_nni.base.array_file import read_array
from rrnet_nni.base.errors import Refusal

from ..graph import Graph
from .walk_together import walk_together

#: Without calibration images, normalized images are assumed to lie in ±DEFAULT_RANGE ...
DEFAULT_RANGE = 3.0
#: ... and are drawn at random, in turn of smooth patches, as flat areas of pictures are, and of independent pixels.
DEFAULT_IMAGES = 8
KINDS = "smooth", "noisy"
#: Where one kind makes activations so many times larger than the other, formats follow the other alone.
EXPLODED = 64.0
DEFAULT_SEED = 20230207
#: A model of whole numbers gets pixels from 0 to this.
PIXEL_MAXIMUM = 255
CALIBRATION_LIMIT = 256
#: Images of the error budget; fewer, as those that are assumed, where a network is so large that they take long.
SAMPLE_IMAGES = 4
SAMPLE_ELEMENTS = 2**26
#: Float32 values of one batch of calibration.
BATCH_ELEMENTS = 2**22


class UnfitRange(Refusal):
    """Values of a network that fit no fixed-point format: it is not trained well enough, or never was."""


@dataclass(frozen=True)
class Calibration:
    """What calibration saw.

    Attributes:
        seen: tensor -> largest absolute value.
        images: how many images were used.
        assumed: no images were given; they were drawn from the default range.
        channels: tensor -> largest absolute value of every channel.
        powers: tensor -> mean square of every channel, of an image that most images are not smaller than.
        left_out: the kind of assumed images on which activations explode, and which do not count therefore.
        sample: a few of the images, float32, for the error budget.
        exact: tensor -> its values of the sample in floating point, where calibration kept them for the certificate.
    """

    seen: Mapping[str, float]
    images: int
    assumed: bool
    sample: np.ndarray
    channels: Mapping[str, np.ndarray] = field(default_factory=dict)
    powers: Mapping[str, np.ndarray] = field(default_factory=dict)
    left_out: str | None = None
    exact: dict[str, np.ndarray] = field(default_factory=dict)

    def typical(self, name: str) -> float:
        """Root mean square of a tensor where images leave it small: what rounding is to be measured by."""
        return float(np.sqrt(self.powers[name].mean()))


def load_calibration(path: Path | str, graph: Graph) -> np.ndarray:
    """Images of a `.npy`, or of the array of an `.npz` that is named like the graph's input (or is its only one).

    Returns float32 [N, *input shape]. Raises Refusal for a file, shape or value that does not fit.
    """
    return check_images(read_array(Path(path), graph.input), graph, str(path))


def check_images(images: np.ndarray, graph: Graph, where: str) -> np.ndarray:
    """Refuse images of another shape, type or with NaN; returns float32."""
    expected = graph.shapes[graph.input]
    if images.dtype.kind not in "fiu":
        raise Refusal(f"{where}: the images are {images.dtype}, expected numbers")
    if images.shape[1:] != expected or not len(images):
        shown = ", ".join(map(str, ("N", *expected)))
        raise Refusal(f"{where}: the images have the shape {list(images.shape)}, expected [{shown}]")
    if not np.isfinite(images).all():
        raise Refusal(f"{where}: the images hold NaN or infinity")
    return images.astype(np.float32)


def assumed_images(graph: Graph) -> np.ndarray:
    """Synthetic images in ±DEFAULT_RANGE, of each of KINDS in turn, for a model without calibration data."""
    generator = np.random.default_rng(DEFAULT_SEED)
    shape = graph.shapes[graph.input]
    pixels = generator.normal(size=(DEFAULT_IMAGES, *shape))
    if len(shape) == 3:
        coarse = generator.normal(size=(DEFAULT_IMAGES // len(KINDS), shape[0], -(-shape[1] // 8), -(-shape[2] // 8)))
        smooth = np.kron(coarse, np.ones((1, 1, 8, 8)))[:, :, : shape[1], : shape[2]]
        pixels[:: len(KINDS)] = 1.5 * smooth + 0.25 * pixels[:: len(KINDS)]
    clipped = np.clip(pixels, -DEFAULT_RANGE, DEFAULT_RANGE)
    if graph.pixels:
        clipped = np.rint(PIXEL_MAXIMUM / 2 * (1 + clipped / DEFAULT_RANGE))
    return clipped.astype(np.float32)


def calibrate(graph: Graph, images: np.ndarray | None) -> Calibration:
    """Run the graph in floating point and keep the range of every tensor.

    Raises:
        Refusal: a tensor overflows; names the first one.
    """
    return calibrate_beside(graph, (), images)[0]


def calibrate_beside(
    graph: Graph, others: Sequence[Graph], images: np.ndarray | None
) -> tuple[Calibration, list[Calibration | UnfitRange]]:
    """`calibrate` a graph, and other forms of it by the sample alone, what they have in common once.

    Of another form that overflows, the second part says so. Where there are others, the calibration has `exact`.

    Raises:
        Refusal: a tensor of the graph itself overflows; names the first one.
    """
    affordable = max(len(KINDS), SAMPLE_ELEMENTS // sum(math.prod(shape) for shape in graph.shapes.values()))
    given = assumed_images(graph)[:affordable] if images is None else images[:CALIBRATION_LIMIT]
    at_once = len(given) <= min(SAMPLE_IMAGES, affordable)  # the sample, unless some of it explode
    seen = _watch([graph, *others] if at_once else [graph], given, keep=at_once and bool(others))
    left_out = _left_out(seen[0].reached) if images is None else None
    kept = np.array([left_out is None or KINDS[row % len(KINDS)] != left_out for row in range(len(given))])
    sample = given[kept][: min(SAMPLE_IMAGES, affordable)]
    calibration = _calibration(seen[0], kept, sample, images is None, left_out)
    if others and not (at_once and kept.all()):
        seen = _watch([graph, *others], sample, keep=True)
    return replace(calibration, exact=seen[0].values), [_unless_unfit(other, sample) for other in seen[1:]]


@dataclass(frozen=True)
class _Seen:
    """Per tensor [N, C], of every image and channel: the largest absolute value (infinite for NaN), and mean square.

    `values` are the tensors themselves, where they are kept.
    """

    reached: dict[str, np.ndarray]
    squares: dict[str, np.ndarray]
    values: dict[str, np.ndarray]


def _watch(graphs: Sequence[Graph], images: np.ndarray, keep: bool = False) -> list[_Seen]:
    """What these images make of every graph; `keep` the values of the first one, where they come in one batch."""
    steps = [max(1, BATCH_ELEMENTS // max(map(math.prod, graph.shapes.values()))) for graph in graphs]
    found: list[_Seen] = [_Seen({}, {}, {}) for _ in graphs]
    for step in dict.fromkeys(steps):
        numbers = [number for number, own in enumerate(steps) if own == step]
        parts: list[dict[str, list[tuple[np.ndarray, np.ndarray]]]] = [{} for _ in graphs]
        for start in range(0, len(images), step):
            batch = images[start : start + step]
            for places, value in walk_together([graphs[number] for number in numbers], batch):
                statistics = _statistics(value)
                for place, name in places:
                    parts[numbers[place]].setdefault(name, []).append(statistics)
                    if keep and not numbers[place] and len(batch) == len(images):
                        found[0].values[name] = value
        for number in numbers:
            graph = graphs[number]
            for name in (graph.input, *(node.output for node in graph.nodes)):
                reached, squares = zip(*parts[number][name], strict=True)
                found[number].reached[name] = np.concatenate(reached)
                found[number].squares[name] = np.concatenate(squares)
    return found


def _statistics(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, C] of a tensor [N, C, ...]: the largest absolute value, infinite for NaN, and the mean square."""
    inside = tuple(range(2, value.ndim))
    reach = np.maximum(value.max(axis=inside), -value.min(axis=inside))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(np.isfinite(reach), reach, np.inf), np.mean(np.square(value), axis=inside)


def _unless_unfit(seen: _Seen, sample: np.ndarray) -> Calibration | UnfitRange:
    try:
        return _calibration(seen, np.ones(len(sample), bool), sample, False, None)
    except UnfitRange as unfit:
        return unfit


def _calibration(
    watched: _Seen, kept: np.ndarray, sample: np.ndarray, assumed: bool, left_out: str | None
) -> Calibration:
    """What the images that are `kept` reach; raises `UnfitRange`, with the first tensor that overflows."""
    channels = {name: rows[kept].max(axis=0) for name, rows in watched.reached.items()}
    seen = {name: float(reach.max()) for name, reach in channels.items()}
    for name, extreme in seen.items():
        if not math.isfinite(extreme):
            image = int(np.flatnonzero(kept & ~np.isfinite(watched.reached[name]).all(axis=1))[0])
            raise UnfitRange(f"tensor {name!r} overflows on calibration image {image}: no format fits")
    powers = {name: _of_small_image(rows[kept]) for name, rows in watched.squares.items()}
    return Calibration(seen, int(kept.sum()), assumed, sample, channels, powers, left_out)


def _left_out(reached: Mapping[str, np.ndarray]) -> str | None:
    """The kind of assumed images on which activations explode, which a network is not made for."""
    furthest = np.max([rows.max(axis=1) for rows in reached.values()], axis=0)
    of_kinds = {kind: float(furthest[place :: len(KINDS)].max()) for place, kind in enumerate(KINDS)}
    worst = max(of_kinds, key=lambda kind: of_kinds[kind])
    return worst if of_kinds[worst] > EXPLODED * min(of_kinds.values()) else None


def _of_small_image(squares: np.ndarray) -> np.ndarray:
    """The row [C] of mean squares [N, C] whose mean a quarter of the images stays below."""
    return np.asarray(squares[np.argsort(squares.mean(axis=1))[len(squares) // 4]])
