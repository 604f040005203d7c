"""Words that are sent in as many octets as their product needs."""

from __future__ import annotations

import numpy as np


def low_octets(words: np.ndarray, octets: int) -> np.ndarray:
    """The low octets of each word (uint32 or uint64), uint8 [words · octets]."""
    size = words.dtype.itemsize
    rows = np.ascontiguousarray(words.astype(words.dtype.newbyteorder("<"), copy=False)).view(np.uint8)
    return rows.reshape(-1) if octets == size else rows.reshape(-1, size)[:, :octets].reshape(-1)


class WordReader:
    """Reads words of a message in order."""

    def __init__(self, message: np.ndarray) -> None:
        self._message, self._place = message, 0

    def take(self, shape: tuple[int, ...], octets: int, dtype: np.dtype) -> np.ndarray:
        """Words of this shape and type from `octets` octets each."""
        count = int(np.prod(shape)) * octets
        part = self._message[self._place : self._place + count].reshape(-1, octets)
        self._place += count
        rows = np.zeros((len(part), dtype.itemsize), np.uint8)
        rows[:, :octets] = part
        return rows.view(dtype.newbyteorder("<"))[:, 0].astype(dtype, copy=False).reshape(shape)
