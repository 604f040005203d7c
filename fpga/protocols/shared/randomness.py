"""Randomness of the parties and the dealer: the operating system's, expanded by AES-128 in counter mode.

Keys are derived by HKDF under a label, so that no two uses share a key; within an image's key every operation has a
counter range of its own.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 16
#: `update_into` wants room for a block less one octet beyond what it writes.
_SLACK = 15
#: Zeros up to so many are made once.
_MOST_KEPT = 1 << 22


def fresh_bytes(count: int) -> bytes:
    """`count` bytes from the operating system."""
    return os.urandom(count)


def derive(secret: bytes, label: str, length: int = KEY_BYTES) -> bytes:
    """Octets from a secret, an AES key by default; different labels give independent ones."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"rrnet-2pc " + label.encode()).derive(secret)


def _zeros(count: int) -> memoryview:
    """What a cipher turns into its stream."""
    if count > _MOST_KEPT:
        return memoryview(bytes(count))
    return memoryview(_kept_zeros(count.bit_length()))[:count]


@functools.cache
def _kept_zeros(bits: int) -> bytes:
    return bytes(1 << bits)


class Keystream:
    """AES-CTR expansion for one operation on a batch: image n reads from its own key.

    Draws are consecutive: the dealer and a party that draw the same sizes in the same order see the same values.
    `keys` are what an accelerator is given to expand the same stream itself; `set_id` is what both parties and the
    dealer know of the set, and nobody else's set has.
    """

    def __init__(self, keys: Sequence[bytes], operation: int, set_id: bytes = b"") -> None:
        self.keys: Sequence[bytes] = tuple(keys)
        self.set_id = set_id
        self._nonce = operation.to_bytes(8, "big") + bytes(8)

    @functools.cached_property
    def _ciphers(self) -> list[CipherContext]:
        """One per image, made when something is drawn: many an operation draws nothing."""
        return [Cipher(algorithms.AES(key), modes.CTR(self._nonce)).encryptor() for key in self.keys]

    def octets(self, count: int) -> np.ndarray:
        """uint8 [N, count]."""
        images = len(self._ciphers)
        buffer = np.empty(images * count + _SLACK, np.uint8)
        zeros, target = _zeros(count), buffer.data
        for image, cipher in enumerate(self._ciphers):
            cipher.update_into(zeros, target[image * count : (image + 1) * count + _SLACK])
        return buffer[: images * count].reshape(images, count)

    def words(self, *shape: int) -> np.ndarray:
        """uint32 [N, *shape], uniform on the ring."""
        octets = self.octets(4 * math.prod(shape))
        return octets.view("<u4").astype(np.uint32, copy=False).reshape(len(octets), *shape)

    def wide_words(self, *shape: int) -> np.ndarray:
        """uint64 [N, *shape], uniform."""
        octets = self.octets(8 * math.prod(shape))
        return octets.view("<u8").astype(np.uint64, copy=False).reshape(len(octets), *shape)

    def planes(self, planes: int, plane_octets: int) -> np.ndarray:
        """Bit planes uint8 [N, planes, plane_octets]."""
        return self.octets(planes * plane_octets).reshape(-1, planes, plane_octets)


#: A party's share of its own input is expanded from a seed of this size, which is all that is sent.
SEED_BYTES = 16
