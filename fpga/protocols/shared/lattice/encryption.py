"""Ring-LWE encryption of words modulo 2^32, for products with a plaintext that only the evaluating party knows.

The scheme is BGV (Brakerski, Gentry, Vaikuntanathan 2012) with one product per ciphertext: a message m modulo t = 2^32
is the low part of the phase c_0 + c_1·s = m + t·e modulo q in R = Z[X] / (X^n + 1). Ciphertexts to be multiplied are
made with the secret key; what comes back is rerandomized with the public key and flooded.

Parameters: n = 8192, q of 132 to 192 bits (`modulus.py`), ternary secret, centered binomial errors of standard
deviation 3.24.

Flooding: every coefficient that goes back is masked by R uniform on an interval of 2^b integers, b being one bit less
than q has; R modulo 2^32 is the evaluating party's share, the rest hides the noise. For what is hidden, X, the
decrypting party's view is within |X| / 2^b of one that depends on its own result alone, per coefficient: within
E|X| / 2^b over the weights and the errors, which are drawn at random (`hidden_deviation`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....native.library import address
from ..randomness import fresh_bytes
from .modulus import SMALL, Modulus
from .polynomials import (
    DEGREE,
    LANES,
    LIMB_BITS,
    PLAIN,
    drop_primes,
    lattice_kernels,
    multiply_add,
    multiply_one,
    pack_residues,
    reduced,
    unpack_residues,
)
from .sampling import ERROR_BITS, SEED_BYTES, Sampler


def hidden_deviation(nonzeros: int) -> int:
    """At least E|X| of what a mask hides, the product and the noise of one coefficient over the integers.

    The plaintexts' coefficients w are uniform on [-2^31, 2^31), as weights' masks are to the decrypting party, errors e
    are drawn from their distribution, and the messages m may be any: E|X|² <= E[X²] for X = Σ w·(m + t·e), Σ over
    `nonzeros` terms, and the rerandomization's t·(e'·u + e''·s) with ternary u and s.
    """
    variance = -(-ERROR_BITS // 2)
    weight = (2**62 + 2) // 3 + 1
    squares = nonzeros * weight * (2**62 + PLAIN**2 * variance)
    means = nonzeros**2 * 2**62 // 4 + 1  # E[w] = -1/2
    rerandomized = PLAIN**2 * variance * 2 * DEGREE
    return math.isqrt(squares + means + rerandomized) + 1


def noise_bound(nonzeros: int) -> int:
    """Largest |X| of what a mask hides: the product and the noise of one coefficient, over the integers.

    `nonzeros` counts the plaintext coefficients (below 2^31 in magnitude) of all products that are added up.
    """
    product = nonzeros * 2**31 * (2**31 + PLAIN * ERROR_BITS)  # of the message and of its encryption's error
    rerandomized = PLAIN * ERROR_BITS * 2 * DEGREE  # e·u and e_2·s with ternary u and s
    return product + rerandomized


@dataclass(frozen=True)
class PublicKey:
    """An encryption of zero, transformed: float64 [primes, DEGREE] each."""

    first: np.ndarray
    second: np.ndarray


class SecretKey:
    """The decrypting party's key."""

    def __init__(self, modulus: Modulus = SMALL) -> None:
        self._modulus = modulus
        self._seed = fresh_bytes(SEED_BYTES)
        self._private, self._public = Sampler.fresh(), Sampler(self._seed)
        ternary = np.zeros((DEGREE, LANES))
        ternary[:, 0] = self._private.ternary(DEGREE)
        self._secret = np.empty((modulus.count, DEGREE))
        for index, prime in enumerate(modulus.tables):
            transformed = ternary.copy()
            prime.forward(transformed)
            self._secret[index] = transformed[:, 0]
        self._negated = -self._secret
        self._working = np.zeros((3, DEGREE, LANES))  # memory that is fresh each time costs as much as transforms

    def public_key(self) -> np.ndarray:
        """The message that gives the other party its `PublicKey`: uint8 [key_bytes]; call it first and once."""
        zero = self.encrypt(np.zeros((1, DEGREE), np.uint32))
        return np.concatenate((np.frombuffer(self._seed, np.uint8), zero.reshape(-1)))

    def encrypt(self, messages: np.ndarray) -> np.ndarray:
        """Ciphertexts of uint32 [B, DEGREE] as they are sent: uint8 [B, ciphertext_bytes]."""
        count = len(messages)
        result = np.empty((count, self._modulus.count, self._modulus.residue_octets(DEGREE)), np.uint8)
        for start in range(0, count, LANES):
            part = messages[start : start + LANES]
            lanes = range(len(part))
            phase, first, masks = self._working
            phase[:, lanes] = part.view(np.int32).T + float(PLAIN) * self._private.errors(DEGREE, len(part))
            for index, prime in enumerate(self._modulus.tables):
                first[:] = phase
                prime.forward(first)
                masks[:, lanes] = np.stack([self._public.uniform(prime.value, DEGREE) for _ in lanes], axis=1)
                multiply_one(first, masks, self._negated[index], prime.value)
                result[start : start + len(part), index] = pack_residues(first[:, lanes].T, prime.value)
        return result.reshape(count, -1)

    def decrypt(self, answers: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Wanted coefficients of answers: uint8 [B, answer bytes] and their n places -> uint32 [B, n]."""
        prime = self._modulus.tables[0]
        cut = self._modulus.residue_octets(DEGREE)
        second = unpack_residues(answers[:, :cut], prime.value, DEGREE)
        first = unpack_residues(answers[:, cut:], prime.value, len(places))
        undo = np.uint32(self._modulus.undo)
        result = np.empty((len(answers), len(places)), np.uint32)
        for start in range(0, len(answers), LANES):
            part = second[start : start + LANES]
            data, product, _ = self._working
            data[:, : len(part)], product[:] = part.T, 0
            prime.forward(data)
            multiply_one(product, data, self._secret[0], prime.value)
            prime.inverse(product)
            phase = reduced(product[places].T[: len(part)] + first[start : start + LANES], prime.value)
            result[start : start + LANES] = phase.astype(np.int64).astype(np.uint32) * undo
        return result


class Evaluator:
    """The other party: products of received ciphertexts with its plaintexts, rerandomized and flooded."""

    def __init__(self, key_message: np.ndarray, modulus: Modulus = SMALL) -> None:
        self._modulus = modulus
        self._public, self._private = Sampler(key_message[:SEED_BYTES].tobytes()), Sampler.fresh()
        zero = self.read(key_message[SEED_BYTES:].reshape(1, -1))[0]
        self._key = PublicKey(zero[0], zero[1])
        self._working = np.empty((DEGREE, LANES))

    def read(self, message: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """Ciphertexts as they were sent, in order: uint8 [B, ciphertext_bytes] -> float64 [B, 2, primes, DEGREE]."""
        octets = message.reshape(len(message), self._modulus.count, -1)
        result = np.empty((len(message), 2, self._modulus.count, DEGREE)) if into is None else into
        for start in range(0, len(message), LANES):
            stop = min(len(message), start + LANES)
            for index, prime in enumerate(self._modulus.values):
                result[start:stop, 0, index] = unpack_residues(octets[start:stop, index], prime, DEGREE)
                for place in range(start, stop):
                    self._public.uniform(prime, DEGREE, result[place, 1, index])
        return result

    def answer(self, sums: np.ndarray, count: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finish LANES sums of products, float64 [2, primes, DEGREE, LANES], of which the first `count` are used.

        Returns: what is sent, uint8 [count, answer bytes], and the masks modulo 2^32 of the wanted coefficients,
        uint32 [count, n].
        """
        self._rerandomize(sums)
        modulus = self._modulus
        limbs = self._private.masks(count * len(places), modulus.mask_bits)
        wanted = np.empty((modulus.count, count * len(places)))
        exponents = [*range(LIMB_BITS, LIMB_BITS * len(limbs), LIMB_BITS), modulus.mask_bits - 1]
        for index, prime in enumerate(modulus.values):
            wanted[index] = sums[0, index][places, :count].T.reshape(-1)
            powers = np.array([float(pow(2, exponent, prime)) for exponent in exponents])
            lattice_kernels().lattice_add_masks(
                address(wanted[index]), address(limbs), limbs.shape[1], len(limbs), address(powers), prime
            )
        drop_primes(wanted, modulus.values)
        drop_primes(sums[1].reshape(modulus.count, -1), modulus.values)
        parts = sums[1, 0, :, :count].T, wanted[0].reshape(count, -1)
        message = np.concatenate([pack_residues(part, modulus.values[0]) for part in parts], axis=1)
        return message, limbs[0].astype(np.uint32).reshape(count, -1)

    def _rerandomize(self, sums: np.ndarray) -> None:
        """Add an encryption of zero under the public key and leave the transformed domain."""
        ternary = self._private.ternary(DEGREE, LANES)
        factor = self._working
        for index, prime in enumerate(self._modulus.tables):
            factor[:] = ternary
            prime.forward(factor)
            multiply_add(
                sums[0, index], sums[1, index], factor, self._key.first[index], self._key.second[index], prime.value
            )
            prime.inverse(sums[0, index])
            prime.inverse(sums[1, index])
        sums[1] += float(PLAIN) * self._private.errors(DEGREE, LANES)
