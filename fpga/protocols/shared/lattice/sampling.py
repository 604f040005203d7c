"""Random polynomials: uniform, ternary, centered binomial, and the masks that flood."""

from __future__ import annotations

import numpy as np

from ..randomness import Keystream, fresh_bytes
from .polynomials import LIMB_BITS, residues_of

SEED_BYTES = 16
#: Centered binomial errors: the difference of two sums of this many bits.
ERROR_BITS = 21


class Sampler:
    """Polynomials from a stream of pseudorandom octets; two samplers with one seed draw the same."""

    def __init__(self, seed: bytes) -> None:
        self._stream = Keystream([seed], 0)

    @staticmethod
    def fresh() -> Sampler:
        return Sampler(fresh_bytes(SEED_BYTES))

    def _words(self, count: int) -> np.ndarray:
        return self._stream.octets(8 * count)[0].view("<u8").astype(np.uint64, copy=False)

    def uniform(self, prime: int, count: int) -> np.ndarray:
        """Residues, float64 [count] in (-p/2, p/2), by rejection."""
        words = self._words(count)
        values, rejected = residues_of(words, prime)
        while rejected:
            words[words & np.uint64((1 << prime.bit_length()) - 1) >= np.uint64(prime)] = self._words(rejected)
            values, rejected = residues_of(words, prime)
        return values

    def ternary(self, *shape: int) -> np.ndarray:
        """Uniform on {-1, 0, 1}, float64."""
        count = int(np.prod(shape))
        octets = self._stream.octets(count)[0].copy()
        while (rejected := octets == 255).any():
            octets[rejected] = self._stream.octets(int(rejected.sum()))[0]
        return (octets % 3).astype(np.float64).reshape(shape) - 1

    def errors(self, *shape: int) -> np.ndarray:
        """Centered binomial, float64."""
        words = self._words(int(np.prod(shape)))
        low, high = (
            words & np.uint64((1 << ERROR_BITS) - 1),
            (words >> np.uint64(32)) & np.uint64((1 << ERROR_BITS) - 1),
        )
        return (np.bitwise_count(low).astype(np.float64) - np.bitwise_count(high)).reshape(shape)

    def masks(self, count: int, bits: int) -> np.ndarray:
        """Uniform integers of so many bits in limbs of 48 bits, uint64 [limbs, count]."""
        whole = (bits - 1) // LIMB_BITS
        limbs = self._words((whole + 1) * count).reshape(whole + 1, count)
        limbs &= np.uint64((1 << LIMB_BITS) - 1)
        limbs[whole] &= np.uint64((1 << (bits - whole * LIMB_BITS)) - 1)
        return limbs
