"""OT extension: millions of oblivious transfers from 128 base OTs, for semi-honest parties.

This is SoftSpokenOT (Roy, CRYPTO 2022). With a depth of k = 1 it is IKNP; k = 4 sends a quarter of its 128 bits per
transfer for twice its pseudorandom octets. The receiver ends with a row v per transfer, the sender with w = v ⊕ c·Δ;
the pads are hashes of w and w ⊕ Δ. The hash is π(x) ⊕ x with AES under a public key of the session (correlation robust
for pseudorandom rows: Guo, Katz, Wang, Yu, S&P 2020), x being the row plus the transfer's number.

Choices are packed eight to an octet, the first in the top bit, as `bit_planes` packs elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...party import Channel
from .punctured_seeds import BLOCKS, DEPTH, LEAVES, choose_leaves, own_trees
from .streams import BLOCK_OCTETS, expand_streams, row_hash, transpose

#: Octets of choices that are extended together, so that a block's streams stay in the cache.
CHUNK_OCTETS = 1 << 13
NO_OFFSET = np.zeros(2, np.uint64)


def extension_bytes(octets: int) -> int:
    """What the receiver sends for 8 * octets transfers: 128 / k bits each."""
    return BLOCKS * octets


def _empty_columns(octets: int) -> np.ndarray:
    """Columns for some octets of choices, rounded up to what streams are folded in: uint8 [BLOCKS, DEPTH, ...]."""
    return np.empty((BLOCKS, DEPTH, -(-octets // BLOCK_OCTETS) * BLOCK_OCTETS), np.uint8)


def chunks(octets: int) -> Iterator[slice]:
    """Octets of choices that are extended, and sent, together."""
    for start in range(0, octets, CHUNK_OCTETS):
        yield slice(start, min(octets, start + CHUNK_OCTETS))


class OtReceiver:
    """The receiving end of an extension."""

    def __init__(self, channel: Channel, session: bytes) -> None:
        self._streams = expand_streams(own_trees(channel))
        self._hash, self._numbered = row_hash(session), 0

    def rows(self, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At most a chunk: the message [BLOCKS, octets] and the rows v, uint64 [8 * octets, 2]."""
        octets = len(choices)
        columns = _empty_columns(octets)
        message = self._streams.fold(columns)[:, :octets] ^ choices
        return message, transpose(columns)[: 8 * octets]

    def extend(self, choices: np.ndarray, send: Callable[[np.ndarray], None], words: int = 1) -> np.ndarray:
        """Transfers with the given choices, uint8 [octets]: the pads that they name, uint32 [8 * octets, words].

        `send` gets the messages for the sender, one per chunk as soon as it is made.
        """
        pads = np.empty((8 * len(choices), words), np.uint32)
        for part in chunks(len(choices)):
            message, rows = self.rows(choices[part])
            send(message)
            pads[8 * part.start : 8 * part.stop] = self._hash.pads(rows, self._numbered, NO_OFFSET, words)
            self._numbered += len(rows)
        return pads


class OtSender:
    """The sending end of an extension; `offset` is its secret Δ as a row, uint64 [2]."""

    def __init__(self, channel: Channel, session: bytes) -> None:
        secret, leaves = choose_leaves(channel)
        self._streams = expand_streams(leaves, np.arange(LEAVES) ^ secret[:, None])
        self._columns = (secret[:, None] >> np.arange(DEPTH, dtype=np.uint8)) & 1 == 1
        self.offset = np.packbits(self._columns, bitorder="little").view("<u8").astype(np.uint64)
        self._hash, self._numbered = row_hash(session), 0

    def rows(self, message: np.ndarray) -> np.ndarray:
        """The rows w of the receiver's message [BLOCKS, octets] of one chunk, uint64 [8 * octets, 2]."""
        octets = message.shape[1]
        columns = _empty_columns(octets)
        self._streams.fold(columns)
        blocks, bits = np.nonzero(self._columns)
        columns[blocks, bits, :octets] ^= message[blocks]
        return transpose(columns)[: 8 * octets]

    def extend(
        self, octets: int, receive: Callable[[int], np.ndarray], words: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Both pads of 8 * octets transfers, uint32 [8 * octets, words] each.

        `receive` gives the next bytes of the receiver's messages.
        """
        pads = np.empty((2, 8 * octets, words), np.uint32)
        for part in chunks(octets):
            size = part.stop - part.start
            rows = self.rows(receive(extension_bytes(size)).reshape(BLOCKS, size))
            place = slice(8 * part.start, 8 * part.stop)
            pads[0, place] = self._hash.pads(rows, self._numbered, NO_OFFSET, words)
            pads[1, place] = self._hash.pads(rows, self._numbered, self.offset, words)
            self._numbered += len(rows)
        return pads[0], pads[1]
