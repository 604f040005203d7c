"""What a client hands over, a picture, a folder of pictures or an array, as the values that the network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrnet_nni.base.array_file import named_array, read_array
from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import ImageFormat
from rrnet_nni.base.pictures import PICTURE_SUFFIXES, is_hidden, is_picture

#: What the numbers of an array mean: 0..255, 0..1, or what the network takes.
PIXELS, FRACTIONS, MODEL = UNITS = ("pixels", "fractions", "model")
ARRAY_SUFFIXES = (".npy", ".npz")
LABELS = ("label", "labels")
#: How far values may lie outside of black to white, where that is 1 or more: rounding, not other units.
ROUNDING = 1e-2
NAMED = 10


@dataclass(frozen=True)
class ClientValues:
    """Values [N, *shape] in the units of the model, and what the file says beside them.

    Attributes:
        names: of the pictures; empty for an array.
        labels: the right class of each, int64 [N], -1 where it is not known; None where nothing is known.
    """

    values: np.ndarray
    names: tuple[str, ...] = ()
    labels: np.ndarray | None = None


def read_values(path: Path, name: str, known: ImageFormat | None, units: str | None = None) -> ClientValues:
    """Read `path` for a network.

    Args:
        path: a picture, a folder of them (with a folder for each class, where the classes are known), a .npy, or an
            .npz whose array `name` holds the images and `label` the classes.
        known: what the build knows of its images; without it only arrays in the units of the model are taken.
        units: what the numbers of an array mean; None takes integers as pixels, and other numbers as the model's where
            they can be nothing else.

    Raises:
        Refusal: the file is none of these, or its numbers may have other units.
    """
    if path.is_dir() or (path.suffix.lower() not in ARRAY_SUFFIXES and is_picture(path)):
        if known is None:
            raise Refusal(
                f"{path}: this build does not know how pictures become its input: compile the model with --preprocess "
                "FILE, or give an array in the units of the model"
            )
        if units is not None:
            raise Refusal(f"--units says what the numbers of an array mean, and {path} is not an array")
        return _folder(path, known) if path.is_dir() else ClientValues(_values([path], known), (path.name,))
    array = read_array(path, name)
    if array.dtype.kind not in "fiub":
        raise Refusal(f"{path}: images are {array.dtype}, not numbers")
    if known is None:
        if units not in (None, MODEL):
            raise Refusal(f"--units {units}: this build does not know how pixels become its input (--preprocess)")
        values = array.astype(np.float64)
    else:
        values = _in_model_units(array, known, units, str(path))
    return ClientValues(values, labels=_labels(path, len(values)))


def _folder(folder: Path, known: ImageFormat) -> ClientValues:
    """Pictures that lie in the folder, and those in folders that are called like classes."""
    members = sorted(entry for entry in folder.iterdir() if not is_hidden(entry))
    strange = [entry.name for entry in members if entry.is_dir() and entry.name not in known.classes]
    if strange:
        raise Refusal(
            f"{folder} has the folder {strange[0]}, which is no class of the network ({', '.join(known.classes)})"
        )
    files = [(entry, -1) for entry in members if is_picture(entry)]
    for entry in members:
        if entry.is_dir():
            label = known.classes.index(entry.name)
            files += [(path, label) for path in sorted(entry.iterdir()) if is_picture(path)]
    if not files:
        raise Refusal(f"{folder} has no pictures ({', '.join(PICTURE_SUFFIXES)})")
    labels = np.array([label for _, label in files], dtype=np.int64)
    paths = [path for path, _ in files]
    names = tuple(str(path.relative_to(folder)) for path in paths)
    return ClientValues(_values(paths, known), names, labels if (labels >= 0).any() else None)


def _values(paths: Sequence[Path], known: ImageFormat) -> np.ndarray:
    pixels, damaged = np.empty((len(paths), *known.shape), dtype=np.uint8), []
    for index, path in enumerate(paths):
        try:
            pixels[index] = known.pixels(path)
        except Refusal as refusal:
            damaged.append(str(refusal))
    if damaged:
        more = f"; and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
        raise Refusal("; ".join(damaged[:NAMED]) + more)
    return known.normalized(pixels)


def _in_model_units(array: np.ndarray, known: ImageFormat, units: str | None, where: str) -> np.ndarray:
    array = _channels_first(array, known)
    if units is None:
        units = PIXELS if array.dtype.kind in "iu" else MODEL
        if units == MODEL and array.shape[1:] == known.shape and array.size:
            _check_units(array, known, where)
    if units == MODEL:
        return array.astype(np.float64)
    if array.shape[1:] != known.shape:
        return array.astype(np.float64)  # refused for its shape by whoever knows the program
    values = array.astype(np.float64)
    highest = 255 if units == PIXELS else 1
    if values.size and not (values.min() >= 0 and values.max() <= highest):
        raise Refusal(
            f"{where}: values from {values.min():.4g} to {values.max():.4g} are not {units}, which lie in 0..{highest}"
        )
    return known.normalized(values if units == PIXELS else values * 255)


def _channels_first(array: np.ndarray, known: ImageFormat) -> np.ndarray:
    """[N, H, W, C] and, of grey images, [N, H, W] as [N, C, H, W]."""
    channels, height, width = known.shape
    if array.shape[1:] == (height, width, channels) != known.shape:
        return array.transpose(0, 3, 1, 2)
    return array[:, None] if channels == 1 and array.shape[1:] == (height, width) else array


def _check_units(array: np.ndarray, known: ImageFormat, where: str) -> None:
    """Refuse numbers that no picture gives in the units of the model, or that are as likely to be others."""
    black, white = known.limits()
    rounding = ROUNDING * np.minimum(1, white - black)
    lowest, largest = float(array.min()), float(array.max())
    fits = bool(((array >= black - rounding) & (array <= white + rounding)).all())
    like_fractions = lowest >= 0 and largest <= 1
    model_takes_fractions = bool((np.abs(black) < ROUNDING).all() and (np.abs(white - 1) < ROUNDING).all())
    if fits and (model_takes_fractions or not like_fractions):
        return
    if not np.isfinite(array).all():
        return  # refused with the number of the image
    likely = "as pixels / 255 do" if like_fractions else "as pixels do" if lowest >= 0 and 1 < largest <= 255 else ""
    raise Refusal(
        f"{where}: the values lie in {lowest:.4g}..{largest:.4g}{f', {likely}' if likely else ''}; this network takes "
        f"{black.min():.4g} (black) to {white.max():.4g} (white): say which numbers these are with --units pixels "
        "(0..255), fractions (0..1) or model"
    )


def _labels(path: Path, count: int) -> np.ndarray | None:
    """The classes beside the images of an .npz."""
    found = named_array(path, LABELS) if path.suffix.lower() == ".npz" else None
    if found is None or found.shape != (count,) or found.dtype.kind not in "iu":
        return None
    return found.astype(np.int64)
