"""OT extension: millions of oblivious transfers from 128 base OTs, for semi-honest parties.

This is SoftSpokenOT (Roy, CRYPTO 2022). With a depth of k = 1 it is IKNP; k = 4 sends a quarter of its 128 bits per
transfer for twice its pseudorandom octets. The receiver ends with a row v per transfer, the sender with w = v ⊕ c·Δ;
the pads are hashes of w and w ⊕ Δ. The hash is π(x) ⊕ x with AES under a public key of the session (correlation robust
for pseudorandom rows: Guo, Katz, Wang, Yu, S&P 2020), x being the row plus the transfer's number.

Choices are packed eight to an octet, the first in the top bit, as `bit_planes` packs elements.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from ..protocols.party import Channel
from .base_ot import KEY_BYTES
from .kernels import address, load_kernels
from .punctured_seeds import BLOCKS, DEPTH, LEAVES, SECURITY_BITS, choose_leaves, own_trees

#: Octets of choices that are extended together, so that a block's streams stay in the cache.
CHUNK_OCTETS = 1 << 13
#: `update_into` wants room for a block less one octet beyond what it writes.
_SLACK = 15


def extension_bytes(octets: int) -> int:
    """What the receiver sends for 8 * octets transfers: 128 / k bits each."""
    return BLOCKS * octets


class _Streams:
    """The pseudorandom expansion of every leaf, all at the same position."""

    def __init__(self, leaves: np.ndarray, order: np.ndarray) -> None:
        """`order` [BLOCKS, LEAVES]: where in a block each leaf's stream is put; a zero leaf has no stream."""
        self._order = order
        self._buffer = np.zeros((LEAVES, CHUNK_OCTETS + _SLACK), np.uint8)
        self._zeros = bytes(CHUNK_OCTETS)
        self._ciphers: list[list[CipherContext | None]] = [
            [
                Cipher(algorithms.AES(leaf.tobytes()), modes.CTR(bytes(KEY_BYTES))).encryptor() if leaf.any() else None
                for leaf in block
            ]
            for block in leaves
        ]

    def block(self, index: int, octets: int) -> np.ndarray:
        """uint8 [LEAVES, octets], overwritten by the next call."""
        zeros = memoryview(self._zeros)[:octets]
        for place, cipher in zip(self._order[index], self._ciphers[index]):
            if cipher is None:
                self._buffer[place] = 0
            else:
                cipher.update_into(zeros, self._buffer[place].data)
        return self._buffer[:, :octets]


def _fold(streams: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Σ_x x·r_x bit by bit into `columns` [DEPTH, octets], lowest bit first; returns Σ_x r_x. Destroys the streams."""
    for bit in range(DEPTH - 1, -1, -1):
        half = 1 << bit
        low, high = streams[:half], streams[half : 2 * half]
        np.bitwise_xor.reduce(high, axis=0, out=columns[bit])
        low ^= high
    return streams[0]


class _Hash:
    """Rows to 32-bit pads; both parties count the rows alike."""

    def __init__(self, session: bytes) -> None:
        self._cipher = Cipher(algorithms.AES(session), modes.ECB()).encryptor()
        self._rows = 0

    def number(self, rows: np.ndarray) -> None:
        """Add each transfer's number to its row, uint64 [n, 2], in place."""
        rows[:, 0] ^= np.arange(self._rows, self._rows + len(rows), dtype=np.uint64)
        self._rows += len(rows)

    def pads(self, rows: np.ndarray) -> np.ndarray:
        """π(x) ⊕ x, its first 32 bits: uint32 [n]."""
        buffer = np.empty(rows.nbytes + _SLACK, np.uint8)
        self._cipher.update_into(rows.data.cast("B"), buffer.data)
        return buffer[: rows.nbytes].view("<u4")[::4] ^ rows.view("<u4")[:, 0]


def _rows(columns: np.ndarray) -> np.ndarray:
    """Columns uint8 [128, octets] -> rows uint64 [8 * octets, 2]."""
    octets = columns.shape[1]
    padded = -(-octets // 8) * 8
    if padded != octets:
        columns = np.pad(columns, ((0, 0), (0, padded - octets)))
    rows = np.empty((8 * padded, 2), np.uint64)
    size = ctypes.c_int64(padded)
    load_kernels("bit_matrix").bit_rows(address(np.ascontiguousarray(columns)), size, size, address(rows))
    return rows[: 8 * octets]


def chunks(octets: int) -> Iterator[slice]:
    """Octets of choices that are extended, and sent, together."""
    for start in range(0, octets, CHUNK_OCTETS):
        yield slice(start, min(octets, start + CHUNK_OCTETS))


class OtReceiver:
    """The receiving end of an extension."""

    def __init__(self, channel: Channel, session: bytes) -> None:
        leaves = own_trees(channel)
        self._streams = _Streams(leaves, np.broadcast_to(np.arange(LEAVES), (BLOCKS, LEAVES)))
        self._hash = _Hash(session)

    def rows(self, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At most a chunk: the message [BLOCKS, octets] and the rows v, uint64 [8 * octets, 2]."""
        columns = np.empty((SECURITY_BITS, len(choices)), np.uint8)
        message = np.empty((BLOCKS, len(choices)), np.uint8)
        for block in range(BLOCKS):
            part = columns[block * DEPTH : (block + 1) * DEPTH]
            message[block] = _fold(self._streams.block(block, len(choices)), part) ^ choices
        return message, _rows(columns)

    def extend(self, choices: np.ndarray, send: Callable[[np.ndarray], None]) -> np.ndarray:
        """Transfers with the given choices, uint8 [octets]: the pads that they name, uint32 [8 * octets].

        `send` gets the messages for the sender, one per chunk as soon as it is made.
        """
        pads = np.empty(8 * len(choices), np.uint32)
        for part in chunks(len(choices)):
            message, rows = self.rows(choices[part])
            send(message)
            self._hash.number(rows)
            pads[8 * part.start : 8 * part.stop] = self._hash.pads(rows)
        return pads


class OtSender:
    """The sending end of an extension; `offset` is its secret Δ as a row, uint64 [2]."""

    def __init__(self, channel: Channel, session: bytes) -> None:
        secret, leaves = choose_leaves(channel)
        self._streams = _Streams(leaves, np.arange(LEAVES) ^ secret[:, None])
        self._columns = (secret[:, None] >> np.arange(DEPTH, dtype=np.uint8)) & 1 == 1
        self.offset = np.packbits(self._columns, bitorder="little").view("<u8").astype(np.uint64)
        self._hash = _Hash(session)

    def rows(self, message: np.ndarray) -> np.ndarray:
        """The rows w of the receiver's message [BLOCKS, octets] of one chunk, uint64 [8 * octets, 2]."""
        octets = message.shape[1]
        columns = np.empty((SECURITY_BITS, octets), np.uint8)
        for block in range(BLOCKS):
            part = columns[block * DEPTH : (block + 1) * DEPTH]
            _fold(self._streams.block(block, octets), part)
            part[self._columns[block]] ^= message[block]
        return _rows(columns)

    def extend(self, octets: int, receive: Callable[[int], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Both pads of 8 * octets transfers, uint32 each; `receive` gives the next bytes of the receiver's messages."""
        pads = np.empty((2, 8 * octets), np.uint32)
        for part in chunks(octets):
            size = part.stop - part.start
            rows = self.rows(receive(extension_bytes(size)).reshape(BLOCKS, size))
            self._hash.number(rows)
            place = slice(8 * part.start, 8 * part.stop)
            pads[0, place] = self._hash.pads(rows)
            rows ^= self.offset
            pads[1, place] = self._hash.pads(rows)
        return pads[0], pads[1]
