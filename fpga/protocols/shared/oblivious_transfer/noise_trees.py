"""Trees whose leaves two parties share but for one leaf each: noise at places that the sender does not know.

The sender's tree doubles every node x into H(x) and x ⊕ H(x), so that all nodes of a level add up to Δ, as the root's
two children do ("Half-Tree", Guo et al., EUROCRYPT 2023). Per level it tells the sum of its left children under the row
w = v ⊕ r·Δ of one random transfer: with v the receiver learns the sum of the children on side r, and so every leaf but
the one whose way always goes to the other side. What it puts there, the sum of all others, is off by Δ. Nothing goes
back.

H(x) = π(σ(x)) ⊕ σ(x) for a linear orthomorphism σ, π being AES under a key of the session.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ....native.backend import require
from ....native.library import EXACT_OPTIONS, Signatures, address, declare
from .streams import key_schedule

_SOURCE = Path(__file__).with_name("silent_kernels.c")
#: Rows that one place of the code adds up.
TERMS = 10


class NoiseTrees(Protocol):
    """Trees of one depth; rows are uint64 [..., 2]."""

    def grow(self, roots: np.ndarray, offset: np.ndarray, leaves: np.ndarray) -> np.ndarray:
        """The sender's `leaves` [trees, 2^depth, 2] of roots [trees, 2]; sums of left children [trees, depth, 2]."""

    def puncture(self, holes: np.ndarray, known: np.ndarray, leaves: np.ndarray) -> None:
        """The receiver's `leaves`, from the holes int64 [trees] and the sums that it knows [trees, depth, 2]."""


def noise_trees(key: bytes) -> NoiseTrees:
    """Trees whose hash has a public key of 16 octets."""
    return CompiledTrees(key) if silent_kernels().silent_accelerated() else LibraryTrees(key)


class CompiledTrees:
    """In compiled code with AES instructions."""

    def __init__(self, key: bytes) -> None:
        self._schedule = key_schedule(key)

    def grow(self, roots: np.ndarray, offset: np.ndarray, leaves: np.ndarray) -> np.ndarray:
        depth = _depth(leaves)
        sums = np.empty((len(roots), depth, 2), np.uint64)
        arguments = address(self._schedule), depth, len(roots), address(roots), address(offset)
        silent_kernels().grow_trees(*arguments, address(leaves), address(sums))
        return sums

    def puncture(self, holes: np.ndarray, known: np.ndarray, leaves: np.ndarray) -> None:
        trees, depth = known.shape[:2]
        arguments = address(self._schedule), depth, trees, address(holes), address(known), address(leaves)
        silent_kernels().puncture_trees(*arguments)


class LibraryTrees:
    """The same through the AES of the library."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()

    def _doubled(self, nodes: np.ndarray) -> np.ndarray:
        """Children [trees, 2n, 2] of nodes [trees, n, 2]."""
        turned = np.stack((nodes[..., 1], nodes[..., 0] ^ nodes[..., 1]), axis=-1)
        encrypted = np.frombuffer(self._cipher.update(turned.astype("<u8").tobytes()), "<u8").reshape(nodes.shape)
        left = encrypted.astype(np.uint64, copy=False) ^ turned
        return np.stack((left, nodes ^ left), axis=2).reshape(len(nodes), -1, 2)

    def grow(self, roots: np.ndarray, offset: np.ndarray, leaves: np.ndarray) -> np.ndarray:
        level, sums = np.stack((roots, roots ^ offset), axis=1), [roots]
        for _ in range(1, _depth(leaves)):
            level = self._doubled(level)
            sums.append(np.bitwise_xor.reduce(level[:, ::2], axis=1))
        leaves[:] = level
        return np.stack(sums, axis=1)

    def puncture(self, holes: np.ndarray, known: np.ndarray, leaves: np.ndarray) -> None:
        trees, depth = known.shape[:2]
        each = np.arange(trees)
        level, hole = np.zeros((trees, 1, 2), np.uint64), np.zeros(trees, np.int64)
        for place in range(depth):
            level = self._doubled(level) if place else np.zeros((trees, 2, 2), np.uint64)
            way = holes >> (depth - 1 - place) & 1
            level[each, 2 * hole] = level[each, 2 * hole + 1] = 0
            sides = np.bitwise_xor.reduce(level.reshape(trees, -1, 2, 2), axis=1)
            level[each, 2 * hole + 1 - way] = known[:, place] ^ sides[each, 1 - way]
            hole = 2 * hole + way
        level[each, hole] = np.bitwise_xor.reduce(level, axis=1)
        leaves[:] = level


def _depth(leaves: np.ndarray) -> int:
    """Of trees with so many leaves."""
    return int(leaves.shape[1]).bit_length() - 1


_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_PORTABLE: Signatures = {
    "silent_accelerated": (ctypes.c_int, []),
    "add_rows": (None, [_POINTER, _SIZE, *(_POINTER,) * 4]),
    "shift_rows": (None, [_POINTER, _POINTER, _SIZE, _POINTER]),
}
_ACCELERATED: Signatures = {
    "grow_trees": (None, [_POINTER, _SIZE, _SIZE, *(_POINTER,) * 4]),
    "puncture_trees": (None, [_POINTER, _SIZE, _SIZE, *(_POINTER,) * 3]),
}


@functools.cache
def silent_kernels() -> ctypes.CDLL:
    """The compiled kernels.

    Raises:
        Refusal: they cannot be compiled here, or compute wrongly.
    """
    library = require(_SOURCE, EXACT_OPTIONS, _PORTABLE, _adds_rows, "two-party preprocessing")
    if library.silent_accelerated():
        declare(library, _ACCELERATED)
    return library


def _adds_rows(library: ctypes.CDLL) -> bool:
    """Whether sums of rows and of bits are NumPy's."""
    generator = np.random.default_rng(0)
    places, base = generator.integers(0, 50, (64, TERMS), np.uint16), generator.integers(0, 2**64, (50, 2), np.uint64)
    rows, bits = generator.integers(0, 2**64, (64, 2), np.uint64), generator.integers(0, 2, 64, np.uint8)
    expected = rows ^ np.bitwise_xor.reduce(base[places], axis=1)
    base_bits = (base[:, 0] & np.uint64(1)).astype(np.uint8)
    expected_bits = bits ^ np.bitwise_xor.reduce(base_bits[places], axis=1)
    library.add_rows(*map(address, (places,)), 64, *map(address, (base, rows, base_bits, bits)))
    return np.array_equal(rows, expected) and np.array_equal(bits, expected_bits)
