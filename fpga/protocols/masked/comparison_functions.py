"""Distributed comparison functions: two keys of a secret threshold that give XOR shares of [point < threshold].

The tree is that of Half-Tree (Guo, Yang, Wang, Zhang, Xie, Liu, Zhao, Eurocrypt 2023): on the threshold's path the two
keys' nodes differ by a secret Δ with lowest bit 1, elsewhere they are equal, and both children cost one hash

    left = H(s) ⊕ t·CW,    right = left ⊕ s,    t = the lowest bit of s.

The comparison is a prefix parity: point < threshold exactly if, at one level, the point goes left where the threshold
goes right; there the right child's bits t of the two keys differ. The last 7 bits are one leaf of 128 bits. Keys for D
bits, 31 for whole words, are D − 6 blocks of 16 bytes besides the root. H(x) = π(σ(x)) ⊕ σ(x) with σ(high, low) =
(high ⊕ low, high) and π AES-128 under a public key; tree and leaves have different keys, which both parties and who
deals know. They follow from the number of the set of material, so that nothing is computed once against many sets.

Blocks are uint64 pairs, the low word first. AES comes from instructions of the CPU where there are any (`dcf.c`,
checked against `cryptography` when it is loaded), else from `cryptography`.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ...native.backend import choose
from ...native.library import CompilationUnavailable, build_library, load_library
from ..shared.randomness import derive

DOMAIN_BITS, LEAF_BITS = 31, 7
BLOCK_BYTES = 16
#: Keys of the hash of the tree and of the leaves, 16 octets each.
HashKeys: TypeAlias = tuple[bytes, bytes]
_SOURCE = Path(__file__).with_name("dcf.c")


def hash_keys(set_id: bytes) -> HashKeys:
    """Keys of the hash for the material of one set; ValueError where its number was left out."""
    if not set_id:
        raise ValueError("comparison functions need the number of their set")
    return derive(set_id, "comparison tree"), derive(set_id, "comparison leaf")


class LibraryDcf:
    """The functions with AES from `cryptography`."""

    name = "cryptography"

    def generate(
        self,
        thresholds: np.ndarray,
        roots: tuple[np.ndarray, np.ndarray],
        hash_keys: HashKeys,
        domain_bits: int = DOMAIN_BITS,
    ) -> np.ndarray:
        """Correction words uint64 [domain_bits - 6, E, 2] of both keys: one per level and the leaf's.

        Args:
            thresholds: uint32 [E], of which the low bits count.
            roots: first blocks uint64 [E, 2] of key 0 and key 1; their lowest bits are 0 and 1.
            hash_keys: of the tree and of the leaves.
            domain_bits: how many bits are compared, at least 7.
        """
        levels = domain_bits - LEAF_BITS
        nodes = list(roots)
        delta = roots[0] ^ roots[1]
        corrections = np.empty((levels + 1, *roots[0].shape), np.uint64)
        for level in range(levels):
            bit = _spread(thresholds >> np.uint32(domain_bits - 1 - level))
            hashed = [_hash(node, hash_keys[0]) for node in nodes]
            corrections[level] = hashed[0] ^ hashed[1] ^ (delta & ~bit)
            for key, node in enumerate(nodes):
                nodes[key] = hashed[key] ^ (node & bit) ^ (corrections[level] & _spread(node[:, 0]))
        corrections[levels] = _hash(nodes[0], hash_keys[1]) ^ _hash(nodes[1], hash_keys[1]) ^ _low_bits(thresholds)
        return corrections

    def evaluate(
        self,
        points: np.ndarray,
        roots: np.ndarray,
        corrections: np.ndarray,
        hash_keys: HashKeys,
        domain_bits: int = DOMAIN_BITS,
    ) -> np.ndarray:
        """A key's share of [point < threshold], uint8 [E] of zeros and ones, for points uint32 [E] (low bits)."""
        nodes, parity, levels = roots, np.zeros(len(points), np.uint64), domain_bits - LEAF_BITS
        for level in range(levels):
            bit = _spread(points >> np.uint32(domain_bits - 1 - level))
            left = _hash(nodes, hash_keys[0]) ^ (corrections[level] & _spread(nodes[:, 0]))
            parity ^= ~bit[:, 0] & (left ^ nodes)[:, 0]
            nodes = left ^ (nodes & bit)
        leaf = _hash(nodes, hash_keys[1]) ^ (corrections[levels] & _spread(nodes[:, 0]))
        place = (points & np.uint32(2**LEAF_BITS - 1)).astype(np.uint64)
        parity ^= np.where(place < np.uint64(64), leaf[:, 0], leaf[:, 1]) >> (place % np.uint64(64))
        return (parity & np.uint64(1)).astype(np.uint8)


def encrypt_blocks(blocks: np.ndarray, key: bytes) -> np.ndarray:
    """AES-128 of every block, uint64 [E, 2]."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    octets = cipher.update(np.ascontiguousarray(blocks.astype("<u8", copy=False)).data.cast("B"))
    return np.frombuffer(octets, "<u8").astype(np.uint64, copy=False).reshape(blocks.shape)


def _hash(blocks: np.ndarray, key: bytes) -> np.ndarray:
    """H of every block."""
    moved = np.stack((blocks[:, 1], blocks[:, 1] ^ blocks[:, 0]), axis=1)
    return encrypt_blocks(moved, key) ^ moved


def _spread(words: np.ndarray) -> np.ndarray:
    """uint64 [E, 1]: all ones where the lowest bit is set."""
    return (np.uint64(0) - (words.astype(np.uint64) & np.uint64(1)))[:, None]


def _low_bits(thresholds: np.ndarray) -> np.ndarray:
    """Blocks whose bit v is [v < threshold], for the low 7 bits of the threshold."""
    count = (thresholds & np.uint32(2**LEAF_BITS - 1)).astype(np.uint64)
    one, word = np.uint64(1), np.uint64(64)
    low = np.where(count >= word, ~np.uint64(0), (one << (count % word)) - one)
    high = np.where(count > word, (one << (count % word)) - one, np.uint64(0))
    return np.stack((low, high), axis=1)


class CompiledDcf(LibraryDcf):
    """The functions with the CPU's AES; raises `CompilationUnavailable` where there is none."""

    name = "compiled"

    def __init__(self) -> None:
        path = build_library(_SOURCE)
        if not load_library(path, {"dcf_available": (ctypes.c_int, [])}).dcf_available():
            raise CompilationUnavailable("the CPU has no AES instructions")
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        self._library = load_library(
            path,
            {
                "dcf_encrypt": (None, [pointer] * 3),
                "dcf_generate": (None, [*(pointer,) * 5, size, ctypes.c_int, pointer]),
                "dcf_evaluate": (None, [*(pointer,) * 5, size, ctypes.c_int, pointer]),
            },
        )

    def encrypt(self, blocks: np.ndarray, key: bytes) -> np.ndarray:
        """AES-128 of eight blocks, uint64 [8, 2]."""
        blocks, result = np.ascontiguousarray(blocks, np.uint64), np.empty((8, 2), np.uint64)
        self._library.dcf_encrypt(key, blocks.ctypes.data, result.ctypes.data)
        return result

    def generate(
        self,
        thresholds: np.ndarray,
        roots: tuple[np.ndarray, np.ndarray],
        hash_keys: HashKeys,
        domain_bits: int = DOMAIN_BITS,
    ) -> np.ndarray:
        thresholds = np.ascontiguousarray(thresholds)
        zero, one = (np.ascontiguousarray(root) for root in roots)
        levels = domain_bits - LEAF_BITS
        corrections = np.empty((levels + 1, len(thresholds), 2), np.uint64)
        self._library.dcf_generate(
            *(*hash_keys, thresholds.ctypes.data, zero.ctypes.data, one.ctypes.data),
            *(len(thresholds), levels, corrections.ctypes.data),
        )
        return corrections

    def evaluate(
        self,
        points: np.ndarray,
        roots: np.ndarray,
        corrections: np.ndarray,
        hash_keys: HashKeys,
        domain_bits: int = DOMAIN_BITS,
    ) -> np.ndarray:
        points, roots = np.ascontiguousarray(points), np.ascontiguousarray(roots)
        corrections, shares = np.ascontiguousarray(corrections), np.empty(len(points), np.uint8)
        self._library.dcf_evaluate(
            *(*hash_keys, points.ctypes.data, roots.ctypes.data, corrections.ctypes.data),
            *(len(points), domain_bits - LEAF_BITS, shares.ctypes.data),
        )
        return shares


@functools.cache
def functions() -> LibraryDcf:
    """The backend of this process."""
    return choose(CompiledDcf, LibraryDcf, agrees_with_library)


def agrees_with_library(compiled: LibraryDcf) -> bool:
    """Whether a backend makes and evaluates the same keys as the library's AES."""
    plain, generator = LibraryDcf(), np.random.default_rng(0)
    thresholds, points = (generator.integers(0, 2**31, 37, dtype=np.uint32) for _ in range(2))
    points[:9] = thresholds[:9]
    roots = tuple(generator.integers(0, 2**64, (37, 2), dtype=np.uint64) for _ in range(2))
    pair = roots[0] & np.uint64(2**64 - 2), roots[1] | np.uint64(1)
    for domain_bits, keys in ((DOMAIN_BITS, hash_keys(b"first")), (15, hash_keys(b"second"))):
        corrections = plain.generate(thresholds, pair, keys, domain_bits)
        if not np.array_equal(compiled.generate(thresholds, pair, keys, domain_bits), corrections) or not all(
            np.array_equal(
                compiled.evaluate(points, root, corrections, keys, domain_bits),
                plain.evaluate(points, root, corrections, keys, domain_bits),
            )
            for root in pair
        ):
            return False
    return True
