"""The file of one inference's corrections: their count and lengths, the octets, and a checksum."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...native.checksum import crc32


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


def unpack_corrections(data: bytes, where: str) -> list[np.ndarray]:
    """What `write_corrections` wrote; refuses a damaged file."""
    if len(data) < 12 or crc32(memoryview(data)[:-4]) != int.from_bytes(data[-4:], "little"):
        raise Refusal(f"{where} is damaged (checksum); its inference is lost, run again")
    octets = np.frombuffer(data, np.uint8)
    count = int(np.frombuffer(data, "<u8", 1)[0])
    lengths = np.frombuffer(data, "<u8", count, 8).astype(np.int64)
    ends = 8 * (count + 1) + np.cumsum(lengths)
    return [octets[end - length : end] for end, length in zip(ends, lengths)]
