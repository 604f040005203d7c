"""Ranges of every tensor, from images or from a stated assumption about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rrnet_nni.base.array_file import read_array
from rrnet_nni.base.errors import Refusal

from ..float_interpreter import walk_float
from ..graph import Graph

#: Without calibration images, normalized images are assumed to lie in ±DEFAULT_RANGE ...
DEFAULT_RANGE = 3.0
#: ... and are drawn at random: some of independent pixels, some of smooth patches, as flat areas of pictures are.
DEFAULT_IMAGES = 8
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
        sample: a few of the images, float32, for the error budget.
    """

    seen: Mapping[str, float]
    images: int
    assumed: bool
    sample: np.ndarray
    channels: Mapping[str, np.ndarray] = field(default_factory=dict)


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
    """Synthetic images in ±DEFAULT_RANGE for a model that comes without calibration data."""
    generator = np.random.default_rng(DEFAULT_SEED)
    shape = graph.shapes[graph.input]
    pixels = generator.normal(size=(DEFAULT_IMAGES, *shape))
    if len(shape) == 3:
        coarse = generator.normal(size=(DEFAULT_IMAGES // 2, shape[0], -(-shape[1] // 8), -(-shape[2] // 8)))
        smooth = np.kron(coarse, np.ones((1, 1, 8, 8)))[:, :, : shape[1], : shape[2]]
        pixels[: DEFAULT_IMAGES // 2] = 1.5 * smooth + 0.25 * pixels[: DEFAULT_IMAGES // 2]
    clipped = np.clip(pixels, -DEFAULT_RANGE, DEFAULT_RANGE)
    if graph.pixels:
        clipped = np.rint(PIXEL_MAXIMUM / 2 * (1 + clipped / DEFAULT_RANGE))
    return clipped.astype(np.float32)


def calibrate(graph: Graph, images: np.ndarray | None) -> Calibration:
    """Run the graph in floating point and keep the range of every tensor.

    Raises:
        Refusal: a tensor overflows; names the first one.
    """
    assumed = images is None
    affordable = max(1, SAMPLE_ELEMENTS // sum(math.prod(shape) for shape in graph.shapes.values()))
    if images is None:
        images = assumed_images(graph)[:affordable]
    images = images[:CALIBRATION_LIMIT]
    seen: dict[str, float] = {}
    channels: dict[str, np.ndarray] = {}
    largest = max(math.prod(shape) for shape in graph.shapes.values())
    step = max(1, BATCH_ELEMENTS // largest)
    for start in range(0, len(images), step):
        for name, value in walk_float(graph, images[start : start + step]):
            reached = np.abs(value).max(axis=(0, *range(2, value.ndim)))
            extreme = float(reached.max())
            if not math.isfinite(extreme):
                raise UnfitRange(
                    f"tensor {name!r} overflows on calibration image {start} or soon after: no format fits"
                )
            seen[name] = max(seen.get(name, 0.0), extreme)
            channels[name] = np.maximum(channels.get(name, 0.0), reached)
    return Calibration(seen, len(images), assumed, images[: min(SAMPLE_IMAGES, affordable)], channels)
