"""The file of one inference's corrections: their count and lengths, the octets, and checksums."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...native.checksum import crc32

#: What is read at once and then checked, while a processor's cache holds it.
_CHECKED_BYTES = 1 << 18


def corrections_path(path: Path, index: int) -> Path:
    """File of one inference's corrections."""
    return path / f"inference-{index:06d}.bin"


def write_corrections(path: Path, parts: Sequence[np.ndarray]) -> None:
    """One inference's corrections, uint8 per operation: their count and lengths, the octets, CRC-32 of each and before.

    The first checksum is that of count and lengths.
    """
    header = np.array([len(parts), *(len(part) for part in parts)], "<u8").tobytes()
    checksums = np.array([crc32(header), *(crc32(part.data) for part in parts)], "<u4")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(header)
        for part in parts:
            file.write(part.data)
        file.write(checksums.tobytes())


class CorrectionsFile(Sequence[np.ndarray]):
    """What `write_corrections` wrote, uint8 per operation, each read when it is asked for: memory holds no second copy.

    It can be read on when it has been removed from its directory, and is let go with this object.

    Raises:
        Refusal: it is damaged, or the part that is asked for.
        ExecutionFault: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise self._unreadable(error) from error
        weakref.finalize(self, os.close, self._file)
        size, count = os.fstat(self._file).st_size, int(self._read(0, 8).view("<u8")[0])
        header, checksums = 8 * (count + 1), 4 * (count + 1)
        if header + checksums > size:
            raise self._damaged()
        self._checksums = self._read(size - checksums, checksums).view("<u4")
        self._lengths = self._read(0, header, self._checksums[0]).view("<u8")[1:].astype(np.int64)
        self._ends = header + np.cumsum(self._lengths)
        if header + self._lengths.sum() + checksums != size:
            raise self._damaged()

    def __len__(self) -> int:
        return len(self._lengths)

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, place: slice) -> list[np.ndarray]: ...

    def __getitem__(self, place: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        length = int(self._lengths[place])
        return self._read(int(self._ends[place]) - length, length, self._checksums[place + 1])

    def _read(self, start: int, count: int, checksum: int | None = None) -> np.ndarray:
        octets, found = np.empty(count, np.uint8), 0
        for first in range(0, count, _CHECKED_BYTES):
            part = octets[first : first + _CHECKED_BYTES]
            self._read_into(part, start + first)
            found = crc32(part.data, found)
        if checksum is not None and found != checksum:
            raise self._damaged()
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
