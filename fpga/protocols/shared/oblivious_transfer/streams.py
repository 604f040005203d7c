"""The pseudorandom streams of all leaves, expanded and folded, their transpose, and the hash of rows.

Every fold starts at a fresh AES block of each stream, so that both ways of computing it, through the AES of the library
and in compiled code where the processor has AES instructions, are at the same place.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from ....native.backend import require
from ....native.library import EXACT_OPTIONS, Signatures, address, declare
from .base_ot import KEY_BYTES
from .punctured_seeds import BLOCKS, DEPTH, LEAVES

_SOURCE = Path(__file__).with_name("ot_kernels.c")
#: Octets of an AES block; folds are cut to multiples of it.
BLOCK_OCTETS = 16
#: `update_into` wants room for a block less one octet beyond what it writes.
_SLACK = 15


class Streams(Protocol):
    """The streams of the leaves of every block, place by place."""

    def fold(self, columns: np.ndarray) -> np.ndarray:
        """Σ_x x·r_x of every block bit by bit into `columns` [BLOCKS, DEPTH, octets], lowest bit first.

        `octets` is a multiple of BLOCK_OCTETS; all streams move on by as much. Returns Σ_x r_x, uint8 [BLOCKS, octets].
        """


def expand_streams(leaves: np.ndarray, places: np.ndarray | None = None) -> Streams:
    """Streams of uint8 leaves [BLOCKS, LEAVES, 16], the leaf x of a block at `places` [BLOCKS, LEAVES].

    A zero leaf, which its holder does not know, must be at place 0, where it does not matter, and has no stream.
    """
    ordered = leaves
    if places is not None:
        ordered = np.empty_like(leaves)
        np.put_along_axis(ordered, places[:, :, None].astype(np.int64), leaves, axis=1)
    return CompiledStreams(ordered) if _kernels().ot_accelerated() else LibraryStreams(ordered)


class LibraryStreams:
    """AES-CTR of the library, folded by NumPy."""

    def __init__(self, leaves: np.ndarray) -> None:
        self._ciphers: list[list[CipherContext | None]] = [
            [
                Cipher(algorithms.AES(leaf.tobytes()), modes.CTR(bytes(KEY_BYTES))).encryptor() if leaf.any() else None
                for leaf in block
            ]
            for block in leaves
        ]

    def fold(self, columns: np.ndarray) -> np.ndarray:
        return np.stack([self._fold_block(ciphers, block) for ciphers, block in zip(self._ciphers, columns)])

    @staticmethod
    def _fold_block(ciphers: list[CipherContext | None], columns: np.ndarray) -> np.ndarray:
        octets = columns.shape[1]
        buffer, zeros = np.zeros((LEAVES, octets + _SLACK), np.uint8), bytes(octets)
        for row, cipher in zip(buffer, ciphers):
            if cipher is not None:
                cipher.update_into(zeros, row.data)
        streams = buffer[:, :octets]
        for bit in range(DEPTH - 1, -1, -1):
            low, high = streams[: 1 << bit], streams[1 << bit : 2 << bit]
            np.bitwise_xor.reduce(high, axis=0, out=columns[bit])
            low ^= high
        return streams[0]


class CompiledStreams:
    """The same in compiled code with AES instructions."""

    def __init__(self, leaves: np.ndarray) -> None:
        self._schedules = np.empty((BLOCKS, LEAVES, 11, KEY_BYTES), np.uint8)
        keys = np.ascontiguousarray(leaves)
        _kernels().ot_schedules(address(keys), BLOCKS * LEAVES, address(self._schedules))
        self._holes = np.array([not block[0].any() for block in leaves], np.uint8)
        self._counter = 0

    def fold(self, columns: np.ndarray) -> np.ndarray:
        octets = columns.shape[2]
        totals = np.empty((BLOCKS, octets), np.uint8)
        arguments = address(self._schedules), self._counter, octets, BLOCKS, address(self._holes)
        _kernels().ot_fold(*arguments, address(columns), address(totals))
        self._counter += octets // BLOCK_OCTETS
        return totals


class RowHash(Protocol):
    """Rows to pads of up to four words: AES(x) ⊕ x, x being the row, an offset and the row's number."""

    def pads(self, rows: np.ndarray, first: int, offset: np.ndarray, words: int) -> np.ndarray:
        """Pads uint32 [n, words] of rows uint64 [n, 2] that are numbered from `first`, with an offset uint64 [2]."""


def row_hash(key: bytes) -> RowHash:
    """The hash under a public key of 16 octets."""
    return CompiledHash(key) if _kernels().ot_accelerated() else LibraryHash(key)


class LibraryHash:
    """The hash through the AES of the library."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()

    def pads(self, rows: np.ndarray, first: int, offset: np.ndarray, words: int) -> np.ndarray:
        inputs = rows ^ offset
        inputs[:, 0] ^= np.arange(first, first + len(rows), dtype=np.uint64)
        buffer = np.empty(inputs.nbytes + _SLACK, np.uint8)
        self._cipher.update_into(inputs.data.cast("B"), buffer.data)
        return buffer[: inputs.nbytes].view("<u4").reshape(-1, 4)[:, :words] ^ inputs.view("<u4")[:, :words]


def key_schedule(key: bytes) -> np.ndarray:
    """AES round keys, uint8 [11, 16], for compiled code with AES instructions."""
    schedule = np.empty((11, KEY_BYTES), np.uint8)
    _kernels().ot_schedules(address(np.frombuffer(key, np.uint8)), 1, address(schedule))
    return schedule


class CompiledHash:
    """The same in compiled code with AES instructions."""

    def __init__(self, key: bytes) -> None:
        self._schedule = key_schedule(key)

    def pads(self, rows: np.ndarray, first: int, offset: np.ndarray, words: int) -> np.ndarray:
        result = np.empty((len(rows), words), np.uint32)
        rows = np.ascontiguousarray(rows)
        arguments = address(rows), len(rows), first, address(offset), address(self._schedule), words, address(result)
        _kernels().ot_pads(*arguments)
        return result


def transpose(columns: np.ndarray) -> np.ndarray:
    """128 columns uint8 [..., octets] -> rows uint64 [8 * octets, 2]; `octets` is a multiple of BLOCK_OCTETS."""
    octets = columns.shape[-1]
    rows = np.empty((8 * octets, 2), np.uint64)
    _kernels().bit_rows(address(columns), octets, address(rows))
    return rows


_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_PORTABLE: Signatures = {
    "ot_accelerated": (ctypes.c_int, []),
    "bit_rows": (None, [_POINTER, _SIZE, _POINTER]),
    "bit_rows_portable": (None, [_POINTER, _SIZE, _POINTER]),
}
_ACCELERATED: Signatures = {
    "ot_schedules": (None, [_POINTER, _SIZE, _POINTER]),
    "ot_pads": (None, [_POINTER, _SIZE, ctypes.c_uint64, _POINTER, _POINTER, _SIZE, _POINTER]),
    "ot_fold": (None, [_POINTER, ctypes.c_uint64, _SIZE, _SIZE, _POINTER, _POINTER, _POINTER]),
}


@functools.cache
def _kernels() -> ctypes.CDLL:
    library = require(_SOURCE, EXACT_OPTIONS, _PORTABLE, _transposes, "two-party preprocessing")
    if library.ot_accelerated():
        declare(library, _ACCELERATED)
    return library


def _transposes(library: ctypes.CDLL) -> bool:
    """Whether both transpositions turn 128 columns of bits into rows as NumPy does."""
    columns = np.random.default_rng(0).integers(0, 256, (BLOCKS * DEPTH, 2 * BLOCK_OCTETS), np.uint8)
    bits = np.unpackbits(columns, axis=1).T
    expected = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view("<u8")
    for transposed in (library.bit_rows, library.bit_rows_portable):
        rows = np.empty_like(expected)
        transposed(address(columns), columns.shape[1], address(rows))
        if not np.array_equal(rows, expected):
            return False
    return True
