"""CRC-32 of frames and files: zlib's, and for large ones the same from the processor's carry-less products."""

from __future__ import annotations

import ctypes
import functools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .backend import choose
from .library import CompilationUnavailable, address, build_library, declare, load_library

_SOURCE = Path(__file__).with_name("checksum.c")
#: Below it a call costs more than the octets do.
_LARGE_BYTES = 1 << 13
_STEP_BYTES = 16

Checksum: TypeAlias = Callable[[Any, int], int]


def crc32(octets: Any, before: int = 0) -> int:
    """As `zlib.crc32`: the checksum of a buffer behind octets whose checksum is `before`."""
    return zlib.crc32(octets, before) if len(octets) < _LARGE_BYTES else _checksum()(octets, before)


class CompiledChecksum:
    """The checksum in C; raises `CompilationUnavailable` without a compiler or the processor's carry-less product."""

    def __init__(self) -> None:
        self._library = load_library(build_library(_SOURCE), {"crc_available": (ctypes.c_int, [])})
        if not self._library.crc_available():
            raise CompilationUnavailable("the processor has no carry-less product")
        declare(
            self._library,
            {"checksum_octets": (ctypes.c_uint32, [ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint32])},
        )

    def __call__(self, octets: Any, before: int) -> int:
        array = np.frombuffer(octets, np.uint8)
        whole = len(array) // _STEP_BYTES * _STEP_BYTES
        return zlib.crc32(array[whole:].data, self._library.checksum_octets(address(array), whole, before))


def load() -> None:
    """Build and check the compiled form now, not while a message waits."""
    _checksum()


@functools.cache
def _checksum() -> Checksum:
    compiled: Callable[[], Checksum] = CompiledChecksum
    return choose(compiled, lambda: zlib.crc32, agrees_with_zlib)


def agrees_with_zlib(checksum: Checksum) -> bool:
    """On lengths that end anywhere, whatever came before."""
    octets = np.random.default_rng(0).integers(0, 256, 700, np.uint8).tobytes()
    return all(
        checksum(octets[:count], before) == zlib.crc32(octets[:count], before)
        for count in (64, 79, 80, 127, 128, 255, 256, 320, 511, 512, 700)
        for before in (0, 0xDEADBEEF)
    )
