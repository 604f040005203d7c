"""Silent oblivious transfers: random ones for a third of an octet each, and a bit for each choice ("Ferret").

Rows of random transfers, w = v ⊕ r·Δ, are expanded from few (Yang, Weng, Lan, Zhang, Wang, CCS 2020): k of them are
multiplied by a public sparse matrix of n columns, ten ones in each, and noise is added, one leaf in each block of 2^h,
from trees that take h rows each (`noise_trees`). Of the n rows the first k + t·h start the next expansion. That they
look random rests on learning parity with noise (LPN): n samples, k secret bits, t regular errors. A random transfer
becomes one of a chosen bit when the receiver says by how much its choice differs.

Parameters: k = 40,960, t = 918 blocks of 2^9. Of the attacks that are known, information-set decoding, which guesses
samples without noise, takes 2^113 guesses and solves a system of k equations for each; the algebraic attack on regular
noise (Briaud and Øygarden, EUROCRYPT 2023) 2^76 guesses and 2^75 operations for each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ....native.library import address
from ...party import Channel
from ..randomness import KEY_BYTES, Keystream, derive, fresh_bytes
from .extension import NO_OFFSET, OtReceiver, OtSender, chunks, extension_bytes
from .noise_trees import TERMS, noise_trees, silent_kernels
from .punctured_seeds import BLOCKS
from .streams import row_hash

ROW_BYTES = 16


@dataclass(frozen=True)
class NoiseCode:
    """k secret rows, and regular noise in blocks of 2^depth, one tree for each."""

    secrets: int
    trees: int
    depth: int

    @property
    def columns(self) -> int:
        """Rows that one expansion makes: n."""
        return self.trees << self.depth

    @property
    def kept(self) -> int:
        """Rows that the next expansion starts from, in whole octets of choices."""
        return -(-(self.secrets + self.trees * self.depth) // 8) * 8

    @property
    def gained(self) -> int:
        """Transfers of one expansion."""
        return self.columns - self.kept

    @property
    def expansion_bytes(self) -> int:
        """What the sender of the transfers tells for one expansion."""
        return self.trees * self.depth * ROW_BYTES


CODE = NoiseCode(40_960, 918, 9)
#: Trees whose leaves are worked on while they are in a cache.
TREES_TOGETHER = 32


class SilentSupply:
    """What the expansions send while transfers are used up, in their order: by the sender and by the receiver."""

    def __init__(self) -> None:
        self._left, self._started = 0, False

    def sent_for(self, transfers: int) -> tuple[int, int]:
        """Bytes for the next transfers beside their choices."""
        expansions = max(0, -(-(transfers - self._left) // CODE.gained))
        self._left += expansions * CODE.gained - transfers
        starts = bool(expansions) and not self._started
        self._started = self._started or starts
        return expansions * CODE.expansion_bytes, starts * extension_bytes(CODE.kept // 8)


@functools.cache
def code_places() -> np.ndarray:
    """The public matrix: uint16 [n, TERMS], which of the k secrets each column adds up; the same in all sessions."""
    words = Keystream([derive(bytes(KEY_BYTES), "code of silent transfers")], 0).words(CODE.columns, TERMS)[0]
    return (words.astype(np.uint64) * np.uint64(CODE.secrets) >> np.uint64(32)).astype(np.uint16)


def _add_secrets(
    trees: slice,
    base: np.ndarray,
    rows: np.ndarray,
    base_bits: np.ndarray | None = None,
    bits: np.ndarray | None = None,
) -> None:
    """Add the secrets that the code says to rows [n, 2] of some trees, those of `base_bits` to their bits uint8 [n]."""
    places = code_places()[trees.start << CODE.depth : trees.stop << CODE.depth]
    operands = [None if array is None else address(array) for array in (base, rows, base_bits, bits)]
    silent_kernels().add_rows(address(places), len(places), *operands)


def _together() -> list[slice]:
    """All trees, some at a time."""
    return [slice(start, min(CODE.trees, start + TREES_TOGETHER)) for start in range(0, CODE.trees, TREES_TOGETHER)]


def _hash_keys(session: bytes) -> tuple[bytes, bytes]:
    """Keys of the hashes of rows and of trees."""
    return session, derive(session, "trees of silent transfers")


class SilentReceiver:
    """The receiving end, with the interface of `OtReceiver.extend`; `receiver` starts it."""

    def __init__(self, receiver: OtReceiver, channel: Channel, session: bytes) -> None:
        self._start, self._channel = receiver, channel
        rows_key, trees_key = _hash_keys(session)
        self._hash, self._trees, self._numbered = row_hash(rows_key), noise_trees(trees_key), 0
        self._rows, self._bits = np.empty((0, 2), np.uint64), np.empty(0, np.uint8)
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        self._memory = np.empty((0, 2), np.uint64)

    def extend(self, choices: np.ndarray, send: Callable[[np.ndarray], None], words: int = 1) -> np.ndarray:
        """Transfers with the given choices, uint8 [octets]: the pads that they name, uint32 [8 * octets, words]."""
        pads = np.empty((8 * len(choices), words), np.uint32)
        for part in chunks(len(choices)):
            rows, bits = self._take(8 * (part.stop - part.start))
            send(np.packbits(bits) ^ choices[part])
            pads[8 * part.start : 8 * part.stop] = self._hash.pads(rows, self._numbered, NO_OFFSET, words)
            self._numbered += len(rows)
        return pads

    def _take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The next rows v, and the random choices r in octets."""
        rows, bits = [], []
        while count:
            if not len(self._rows):
                self._expand()
            taken = self._rows[:count], self._bits[:count]
            self._rows, self._bits = self._rows[count:], self._bits[count:]
            count -= len(taken[0])
            # the next expansion lies where this one does
            rows.append(taken[0].copy() if count else taken[0])
            bits.append(taken[1])
        return (rows[0], bits[0]) if len(rows) == 1 else (np.concatenate(rows), np.concatenate(bits))

    def _expand(self) -> None:
        base, base_bits = self._begin() if self._kept is None else self._kept
        told = slice(CODE.secrets, CODE.secrets + CODE.trees * CODE.depth)
        shape = CODE.trees, CODE.depth
        ways = 1 - base_bits[told].reshape(shape).astype(np.int64)
        holes = ways @ (1 << np.arange(CODE.depth - 1, -1, -1))
        received = self._channel.exchange(None, CODE.expansion_bytes).view("<u8").reshape(-1, 2)
        known = np.ascontiguousarray(received.astype(np.uint64, copy=False) ^ base[told]).reshape(*shape, 2)
        if not len(self._memory):
            self._memory = np.empty((CODE.columns, 2), np.uint64)
        rows, bits = self._memory, np.zeros(CODE.columns, np.uint8)
        leaves = rows.reshape(CODE.trees, -1, 2)
        bits[(np.arange(CODE.trees) << CODE.depth) + holes] = 1
        for trees in _together():
            place = slice(trees.start << CODE.depth, trees.stop << CODE.depth)
            self._trees.puncture(holes[trees], known[trees], leaves[trees])
            _add_secrets(trees, base, rows[place], base_bits, bits[place])
        self._kept = rows[: CODE.kept].copy(), bits[: CODE.kept].copy()
        self._rows, self._bits = rows[CODE.kept :], bits[CODE.kept :]

    def _begin(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of transfers with random choices, by the extension that is not silent."""
        choices = np.frombuffer(fresh_bytes(CODE.kept // 8), np.uint8)
        rows = []
        for part in chunks(len(choices)):
            message, made = self._start.rows(choices[part])
            self._channel.exchange(np.ascontiguousarray(message), 0)
            rows.append(made)
        return np.concatenate(rows), np.unpackbits(choices)


class SilentSender:
    """The sending end, with the interface of `OtSender.extend`; `sender` starts it, and its secret Δ is this one's."""

    def __init__(self, sender: OtSender, channel: Channel, session: bytes) -> None:
        self._start, self._channel = sender, channel
        rows_key, trees_key = _hash_keys(session)
        self._hash, self._trees, self._numbered = row_hash(rows_key), noise_trees(trees_key), 0
        self._rows, self._kept, self._memory = (np.empty((0, 2), np.uint64) for _ in range(3))

    @property
    def offset(self) -> np.ndarray:
        """Δ as a row, uint64 [2]."""
        return self._start.offset

    def extend(
        self, octets: int, receive: Callable[[int], np.ndarray], words: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Both pads of 8 * octets transfers, uint32 [8 * octets, words] each."""
        pads = np.empty((2, 8 * octets, words), np.uint32)
        for part in chunks(octets):
            rows = self._take(8 * (part.stop - part.start))
            differences = np.ascontiguousarray(receive(part.stop - part.start))
            silent_kernels().shift_rows(address(rows), address(differences), len(rows), address(self.offset))
            place = slice(8 * part.start, 8 * part.stop)
            pads[0, place] = self._hash.pads(rows, self._numbered, NO_OFFSET, words)
            pads[1, place] = self._hash.pads(rows, self._numbered, self.offset, words)
            self._numbered += len(rows)
        return pads[0], pads[1]

    def _take(self, count: int) -> np.ndarray:
        """The next rows w, for this one use: a view where one expansion has them all."""
        rows = []
        while count:
            if not len(self._rows):
                self._expand()
            taken, self._rows = self._rows[:count], self._rows[count:]
            count -= len(taken)
            rows.append(taken.copy() if count else taken)  # the next expansion lies where this one does
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _expand(self) -> None:
        base = self._kept if len(self._kept) else self._begin()
        roots = np.frombuffer(fresh_bytes(CODE.trees * ROW_BYTES), np.uint64).reshape(-1, 2)
        if not len(self._memory):
            self._memory = np.empty((CODE.columns, 2), np.uint64)
        rows, told = self._memory, base[CODE.secrets : CODE.secrets + CODE.trees * CODE.depth].copy()
        told ^= self._trees.grow(roots, self.offset, rows.reshape(CODE.trees, -1, 2)).reshape(-1, 2)
        self._channel.exchange(told.astype("<u8", copy=False), 0)  # the receiver begins while the secrets are added
        _add_secrets(slice(0, CODE.trees), base, rows)
        self._kept, self._rows = rows[: CODE.kept].copy(), rows[CODE.kept :]

    def _begin(self) -> np.ndarray:
        parts = (part.stop - part.start for part in chunks(CODE.kept // 8))
        received = ((size, self._channel.exchange(None, extension_bytes(size))) for size in parts)
        return np.concatenate([self._start.rows(message.reshape(BLOCKS, size)) for size, message in received])
