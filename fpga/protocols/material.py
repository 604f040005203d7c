"""What a party holds of one operation's correlated randomness: its own expansion, and the corrections.

Most corrections are party 1's alone; what is the same for both (the correction words of comparison keys) goes to both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

#: Where words of any size may begin.
WIDE_BYTES = 8


class RandomSource(Protocol):
    """Values that a party expands from its seed, drawn in the order in which the dealer drew them.

    `keys`: one AES key per image, for an accelerator that expands them itself. `set_id`: public octets that are this
    set's alone.
    """

    set_id: bytes

    @property
    def keys(self) -> Sequence[bytes]: ...

    def words(self, *shape: int) -> np.ndarray:
        """uint32 [N, *shape]."""

    def wide_words(self, *shape: int) -> np.ndarray:
        """uint64 [N, *shape]."""

    def planes(self, planes: int, plane_octets: int) -> np.ndarray:
        """uint8 [N, planes, plane_octets]."""


class _OctetReader(ABC):
    """Values read in order from rows of octets, one row per image."""

    @abstractmethod
    def _take(self, count: int) -> np.ndarray:
        """The next octets of every image, uint8 [N, count]."""

    def words(self, *shape: int) -> np.ndarray:
        """uint32 [N, *shape]."""
        octets = self._take(4 * math.prod(shape))
        return octets.view("<u4").astype(np.uint32, copy=False).reshape(len(octets), *shape)

    def wide_words(self, *shape: int) -> np.ndarray:
        """uint64 [N, *shape]."""
        octets = self._take(8 * math.prod(shape))
        return octets.view("<u8").astype(np.uint64, copy=False).reshape(len(octets), *shape)

    def planes(self, planes: int, plane_octets: int) -> np.ndarray:
        """uint8 [N, planes, plane_octets]."""
        return self._take(planes * plane_octets).reshape(-1, planes, plane_octets)


class Expanded(_OctetReader):
    """A source whose values were expanded beforehand, read in order: `octets` uint8 [N, total], the reader's to change.

    Raises ValueError when more is read than was expanded.
    """

    def __init__(self, octets: np.ndarray, keys: Sequence[bytes] = (), set_id: bytes = b"") -> None:
        self._octets, self._position = octets, 0
        self.keys, self.set_id = keys, set_id

    def _take(self, count: int) -> np.ndarray:
        end = self._position + count
        if end > self._octets.shape[1]:
            raise ValueError("more is read of a source than was expanded")
        part, self._position = self._octets[:, self._position : end], end
        return np.ascontiguousarray(part)

    @property
    def exhausted(self) -> bool:
        """Whether everything that was expanded has been read."""
        return self._position == self._octets.shape[1]


class Corrections(_OctetReader):
    """The dealer's corrections for a batch, read in order: one buffer per image, the reader's to change.

    Raises ValueError when more is read than the dealer wrote.
    """

    def __init__(self, buffers: Sequence[np.ndarray]) -> None:
        self._buffers = buffers
        self._position = 0

    @property
    def buffers(self) -> Sequence[np.ndarray]:
        """Everything that was dealt, one buffer per image."""
        return self._buffers

    def _rows(self, count: int) -> list[np.ndarray]:
        end = self._position + count
        if any(end > len(buffer) for buffer in self._buffers):
            raise ValueError("the material is shorter than the program needs")
        start, self._position = self._position, end
        return [buffer[start:end] for buffer in self._buffers]

    def _take(self, count: int) -> np.ndarray:
        rows = self._rows(count)
        alone = len(rows) == 1 and rows[0].__array_interface__["data"][0] % WIDE_BYTES == 0
        return rows[0][None] if alone else np.stack(rows)

    def wide_rows(self, *shape: int) -> list[np.ndarray]:
        """uint64 [*shape] of every image, where it lies: large material is not copied."""
        rows = self._rows(8 * math.prod(shape))
        return [row.view("<u8").astype(np.uint64, copy=False).reshape(shape) for row in rows]

    @property
    def exhausted(self) -> bool:
        """Whether everything that was dealt has been read."""
        return all(len(buffer) == self._position for buffer in self._buffers)


class CorrectionWriter:
    """Collects both parties' corrections in the order in which `Corrections` reads them."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])

    def put(self, array: np.ndarray) -> None:
        """Append uint8, uint32 or uint64 [N, ...] to party 1's, little-endian."""
        rows = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        self._parts[1].append(rows.reshape(self._images, -1).view(np.uint8))

    def put_for_both(self, array: np.ndarray) -> None:
        """Append the same to both parties'."""
        self.put(array)
        self._parts[0].append(self._parts[1][-1])

    def buffers(self, party: int = 1) -> list[np.ndarray]:
        """A party's corrections, one uint8 buffer per image."""
        if not self._parts[party]:
            return [np.zeros(0, np.uint8) for _ in range(self._images)]
        return list(np.concatenate(self._parts[party], axis=1))
