"""Arrays in files: `.npy`, or one array of an `.npz`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .errors import Refusal


def read_array(path: Path, name: str) -> np.ndarray:
    """The array of a `.npy`, or of an `.npz` the one that is called `name` or is the only one.

    Raises:
        Refusal: the file cannot be read, is no such file, is damaged, or has no array of that name.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                loaded = loaded[_named(path, name, loaded.files)]
    except Refusal:
        raise
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror or 'it is not an array file'}") from error
    except Exception as error:
        # a damaged file makes NumPy, zipfile, zlib or the parser of its header raise whatever they like
        raise Refusal(f"{path} is not a .npy or .npz file of numbers, or is damaged") from error
    if not isinstance(loaded, np.ndarray):
        raise Refusal(f"{path} is not a .npy or .npz file of numbers")
    return loaded


def named_array(path: Path, names: Sequence[str]) -> np.ndarray | None:
    """The first array of an `.npz` that is called by one of `names`; None where there is none, or it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as loaded:
            return next((np.asarray(loaded[name]) for name in names if name in loaded.files), None)
    except Exception:  # as above; whoever needs the file reads it by `read_array`
        return None


def _named(path: Path, name: str, found: list[str]) -> str:
    if name in found or len(found) == 1:
        return name if name in found else found[0]
    raise Refusal(f"{path} has no array {name!r}, the model's input; it has {', '.join(found) or 'none'}")
