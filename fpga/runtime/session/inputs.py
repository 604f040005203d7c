"""Images from a file, as words of the program's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rrnet_nni.base.array_file import read_array
from rrnet_nni.base.errors import Refusal

from ...program import TRUNCATION_BOUND_BITS, Program
from ...program.reference import encode_images


def load_images(path: Path, program: Program, opens_narrow: bool = False) -> np.ndarray:
    """Images of a .npy, or of an array of an .npz (`read_array`), as uint32 [N, *shape].

    Numbers are in the units of the model (integers too). Refuses another shape, no images, what is not a number and
    what is too large for the fixed-point format or, with `opens_narrow`, for the bits of its ring.
    """
    images = read_array(path, program.input)
    if images.dtype.kind not in "fiub":
        raise Refusal(f"{path}: images are {images.dtype}, not numbers")
    tensor = program.tensor(program.input)
    values = images.astype(np.float64)
    if len(images.shape) == 0 or len(images) == 0:
        raise Refusal(f"{path} holds no images")
    if images.shape[1:] != tensor.shape:
        wanted = ", ".join(map(str, ("N", *tensor.shape)))
        raise Refusal(f"{path}: images have the shape {list(images.shape)}, this program takes [{wanted}]")
    if not np.isfinite(values).all():
        raise Refusal(f"{path}: image {_first_bad(~np.isfinite(values))} has values that are not finite")
    word_bits = tensor.ring_bits - 2 if opens_narrow else TRUNCATION_BOUND_BITS
    too_large = np.rint(np.abs(values) * 2.0**tensor.fraction_bits) >= 2.0**word_bits
    if too_large.any():
        limit = 2.0 ** (word_bits - tensor.fraction_bits)
        raise Refusal(
            f"{path}: image {_first_bad(too_large)} has values beyond {limit:g}, the limit of this build and protocol; "
            "rrnet-2pc-compile --calibrate FILE with images like these widens it"
        )
    return encode_images(program, values)


def _first_bad(bad: np.ndarray) -> int:
    return int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
