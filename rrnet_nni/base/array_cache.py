"""What takes long to make, as arrays on disk: written whole or not at all, checked when read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .files import whole_file

_logger = logging.getLogger(__name__)

#: The member that lists the arrays: a damaged archive may lose one of them and stay readable.
_NAMES = "names of the arrays"


def cached_arrays(
    directory: Path, key: str, compute: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """The arrays stored under `key`, else computed and stored.

    A damaged file is named in a warning and made anew; a file that cannot be written costs a warning and the next
    run's time, never a half-written cache.
    """
    path = directory / f"{key}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {str(name): stored[str(name)] for name in stored[_NAMES]}
        except Exception as error:  # a damaged file makes NumPy, zipfile and zlib raise whatever they like
            _logger.warning("%s is damaged (%s) and is made anew", path, error)
    arrays = compute()
    try:
        _write(path, arrays)
    except OSError as error:
        _logger.warning("%s could not be written (%s): it will be made again next time", path, error)
    return arrays


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with whole_file(path) as unfinished, unfinished.open("wb") as stream:
        named: dict[str, Any] = {_NAMES: np.array(list(arrays)), **arrays}
        np.savez(stream, **named)
