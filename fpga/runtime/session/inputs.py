"""Images from a file, as words of the program's input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...program import TRUNCATION_BOUND_BITS, Program
from ...program.build import Build, CalibratedRange, calibrated_range
from ...program.reference import decode_tensor, encode_images
from .client_values import ClientValues, read_values

#: Rounding to words may take a value this part beyond the range that was seen.
SAME_RANGE = 1e-3


@dataclass(frozen=True)
class ClientImages:
    """Images as uint32 words [N, *shape], and what the client should know of them before they are used.

    `names` and `labels` are those of `ClientValues`.
    """

    words: np.ndarray
    warning: str | None = None
    names: tuple[str, ...] = ()
    labels: np.ndarray | None = None


def load_build_images(path: Path, build: Build, opens_narrow: bool = False, units: str | None = None) -> ClientImages:
    """Images for a build: pictures or arrays, none beyond the range for which the build's formats were certified.

    Only inside that range no later tensor leaves its ring, whatever the protocol; what is beyond the calibration
    images, but inside of the headroom, is taken with a warning.
    """
    calibrated = calibrated_range(build)
    read = read_values(path, build.program.input, build.images, units)
    words = image_words(read, str(path), build.program, opens_narrow, calibrated)
    if calibrated is None:
        return ClientImages(words, None, read.names, read.labels)
    largest = np.abs(decode_tensor(build.program, build.program.input, words)).reshape(len(words), -1).max(axis=1)
    beyond = largest > calibrated.seen * (1 + SAME_RANGE)
    if not beyond.any():
        return ClientImages(words, None, read.names, read.labels)
    return ClientImages(
        words,
        f"{path}: {int(beyond.sum())} of {len(words)} images reach {largest.max():.4g}, beyond the "
        f"±{calibrated.seen:.4g} of the calibration images; this build's headroom ends at ±{calibrated.limit:.4g}",
        read.names,
        read.labels,
    )


def load_input(path: Path, program: Program) -> np.ndarray:
    """Images of a .npy, or of an array of an .npz (`read_array`), in the units of the model, as uint32 [N, *shape]."""
    return image_words(read_values(path, program.input, None), str(path), program)


def image_words(
    read: ClientValues,
    path: str,
    program: Program,
    opens_narrow: bool = False,
    calibrated: CalibratedRange | None = None,
) -> np.ndarray:
    """Values in the units of the model as uint32 [N, *shape].

    Refuses another shape, no images, what is not finite and what is too large for the fixed-point format, with
    `opens_narrow` for the bits of its ring, or for what was `calibrated`.
    """
    images = values = read.values
    tensor = program.tensor(program.input)
    if len(images.shape) == 0 or len(images) == 0:
        raise Refusal(f"{path} holds no images")
    if images.shape[1:] != tensor.shape:
        wanted = ", ".join(map(str, ("N", *tensor.shape)))
        raise Refusal(f"{path}: images have the shape {list(images.shape)}, this program takes [{wanted}]")
    if not np.isfinite(values).all():
        raise Refusal(f"{path}: image {_first_bad(~np.isfinite(values))} has values that are not finite")
    word_bits = tensor.ring_bits - 2 if opens_narrow else TRUNCATION_BOUND_BITS
    too_large = np.rint(np.abs(values) * 2.0**tensor.fraction_bits) >= 2.0**word_bits
    limit = 2.0 ** (word_bits - tensor.fraction_bits)
    if calibrated is not None and calibrated.limit < limit:
        limit, too_large = calibrated.limit, np.abs(values) > calibrated.limit
    if too_large.any():
        raise Refusal(
            f"{path}: image {_first_bad(too_large)} reaches {np.abs(values).max():.4g}, beyond ±{limit:.4g}, the limit "
            "of this build and protocol; rrnet-2pc-compile --calibrate FILE with images like these widens it"
        )
    return encode_images(program, values)


def _first_bad(bad: np.ndarray) -> int:
    return int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
