"""The file of one inference's corrections: their count and lengths, the octets, and a checksum."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...native.checksum import crc32

#: What is read at once to check a file, which a processor's cache holds.
_CHECKED_BYTES = 1 << 18


def corrections_path(path: Path, index: int) -> Path:
    """File of one inference's corrections."""
    return path / f"inference-{index:06d}.bin"


def write_corrections(path: Path, parts: Sequence[np.ndarray]) -> None:
    """One inference's corrections, uint8 per operation: their count and lengths, the octets, CRC-32."""
    header = np.array([len(parts), *(len(part) for part in parts)], "<u8").tobytes()
    checksum = crc32(header)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(header)
        for part in parts:
            file.write(part.data)
            checksum = crc32(part.data, checksum)
        file.write(checksum.to_bytes(4, "little"))


class CorrectionsFile(Sequence[np.ndarray]):
    """What `write_corrections` wrote, uint8 per operation, each read when it is asked for: memory holds no second copy.

    It can be read on when it has been removed from its directory, and is let go with this object.

    Raises:
        Refusal: it is damaged.
        ExecutionFault: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise self._unreadable(error) from error
        weakref.finalize(self, os.close, self._file)
        size = os.fstat(self._file).st_size
        if size < 12 or self._checksum(size - 4) != int.from_bytes(self._read(size - 4, 4).tobytes(), "little"):
            raise self._damaged()
        count = int(self._read(0, 8).view("<u8")[0])
        self._lengths = self._read(8, 8 * count).view("<u8").astype(np.int64)
        self._ends = 8 * (count + 1) + np.cumsum(self._lengths)

    def __len__(self) -> int:
        return len(self._lengths)

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, place: slice) -> list[np.ndarray]: ...

    def __getitem__(self, place: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        length = int(self._lengths[place])
        return self._read(int(self._ends[place]) - length, length)

    def _checksum(self, end: int) -> int:
        checksum, chunk = 0, np.empty(_CHECKED_BYTES, np.uint8)
        for start in range(0, end, _CHECKED_BYTES):
            part = chunk[: end - start]
            self._read_into(part, start)
            checksum = crc32(part.data, checksum)
        return checksum

    def _read(self, start: int, count: int) -> np.ndarray:
        octets = np.empty(count, np.uint8)
        self._read_into(octets, start)
        return octets

    def _read_into(self, octets: np.ndarray, start: int) -> None:
        done = 0
        while done < len(octets):
            try:
                count = os.preadv(self._file, [octets[done:].data], start + done)
            except OSError as error:
                raise self._unreadable(error) from error
            if not count:
                raise self._damaged()
            done += count

    def _damaged(self) -> Refusal:
        return Refusal(f"{self._path} is damaged (checksum); its inference is lost, run again")

    def _unreadable(self, error: OSError) -> ExecutionFault:
        return ExecutionFault(f"the material {self._path} cannot be read: {error.strerror}")
