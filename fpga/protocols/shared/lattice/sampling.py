"""Random polynomials: uniform, ternary, centered binomial, and the masks that flood."""

from __future__ import annotations

import numpy as np

from ....native.library import address
from ..randomness import Keystream, fresh_bytes
from .polynomials import LIMB_BITS, lattice_kernels, residues_of

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

    def uniform(self, prime: int, count: int, values: np.ndarray | None = None) -> np.ndarray:
        """Residues, float64 [count] in (-p/2, p/2), by rejection; into `values` where there are some."""
        words = self._words(count)
        values = np.empty(count) if values is None else values
        while rejected := residues_of(words, prime, values):
            words[words & np.uint64((1 << prime.bit_length()) - 1) >= np.uint64(prime)] = self._words(rejected)
        return values

    def ternary(self, *shape: int) -> np.ndarray:
        """Uniform on {-1, 0, 1}, float64."""
        count = int(np.prod(shape))
        octets, values = self._stream.octets(count)[0], np.empty(shape)
        while rejected := lattice_kernels().lattice_ternary(address(octets), count, address(values)):
            octets[octets == 255] = self._stream.octets(rejected)[0]
        return values

    def errors(self, *shape: int) -> np.ndarray:
        """Centered binomial, float64."""
        words, values = self._words(int(np.prod(shape))), np.empty(shape)
        lattice_kernels().lattice_errors(address(words), words.size, ERROR_BITS, address(values))
        return values

    def masks(self, count: int, bits: int) -> np.ndarray:
        """Uniform integers of so many bits in limbs of 48 bits, uint64 [limbs, count]."""
        whole = (bits - 1) // LIMB_BITS
        limbs = self._words((whole + 1) * count).reshape(whole + 1, count)
        limbs &= np.uint64((1 << LIMB_BITS) - 1)
        limbs[whole] &= np.uint64((1 << (bits - whole * LIMB_BITS)) - 1)
        return limbs
