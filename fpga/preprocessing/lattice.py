"""Ring-LWE encryption of words modulo 2^32, for products with a plaintext that only the evaluating party knows.

The scheme is BGV (Brakerski, Gentry, Vaikuntanathan 2012) with one product per ciphertext: a message m modulo t = 2^32
is the low part of the phase c_0 + c_1·s = m + t·e modulo q in R = Z[X] / (X^n + 1). Ciphertexts to be multiplied are
made with the secret key; what comes back is rerandomized with the public key and flooded.

Parameters: n = 8192, q = p_0·p_1·p_2 of 144 bits, ternary secret, centered binomial errors of standard deviation 3.24.
The Homomorphic Encryption Security Standard (2018, table 1) allows 218 bits for n = 8192 at 128-bit classical security.

Flooding: every coefficient that goes back is masked by R uniform on an interval of 2^143 integers; R modulo 2^32 is the
evaluating party's share, the rest hides the noise. With |X| <= `noise_bound` for what is hidden, the decrypting party's
view is within |X| / 2^143 of one that depends on its own result alone, per coefficient.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import numpy as np

from ..board.randomness import Keystream, fresh_bytes
from .kernels import address, load_kernels

DEGREE = 8192
PLAIN_BITS = 32
PRIMES = (2**48 - 16383, 2**48 - 163839, 2**48 - 393215)
LIMB_BITS = 48
MASK_BITS = 143
LANES = 4
#: Centered binomial errors: the difference of two sums of this many bits.
ERROR_BITS = 21
RESIDUE_OCTETS = 6
SEED_BYTES = 16

_PLAIN = 1 << PLAIN_BITS


def noise_bound(nonzeros: int) -> int:
    """Largest |X| of what a mask hides: the product and the noise of one coefficient, over the integers.

    `nonzeros` counts the plaintext coefficients (below 2^31 in magnitude) of all products that are added up.
    """
    product = nonzeros * 2**31 * (2**31 + _PLAIN * ERROR_BITS)  # of the message and of its encryption's error
    rerandomized = _PLAIN * ERROR_BITS * 2 * DEGREE  # e·u and e_2·s with ternary u and s
    return product + rerandomized


@dataclass(frozen=True)
class _Prime:
    """A prime's tables for the kernels."""

    value: int
    roots: np.ndarray
    ratios: np.ndarray
    inverse_roots: np.ndarray
    inverse_ratios: np.ndarray
    scale: float

    @staticmethod
    def of(value: int) -> _Prime:
        root = next(
            candidate
            for base in range(2, 1000)
            if pow(candidate := pow(base, (value - 1) // (2 * DEGREE), value), DEGREE, value) == value - 1
        )
        order = _bit_reversed(DEGREE)
        forward, backward = (_powers(power, value)[order] for power in (root, pow(root, -1, value)))
        scale = float(_centered(pow(DEGREE, -1, value), value))
        return _Prime(value, forward, forward / value, backward, backward / value, scale)

    def forward(self, data: np.ndarray) -> None:
        """Transform float64 [DEGREE, LANES] in place."""
        _kernels().lattice_forward(address(data), DEGREE, address(self.roots), address(self.ratios), self.value)

    def inverse(self, data: np.ndarray) -> None:
        """Transform float64 [DEGREE, LANES] back, in place."""
        tables = address(self.inverse_roots), address(self.inverse_ratios)
        _kernels().lattice_inverse(address(data), DEGREE, *tables, self.scale, self.scale / self.value, self.value)


def _powers(root: int, prime: int) -> np.ndarray:
    values, power = np.empty(DEGREE), 1
    for index in range(DEGREE):
        values[index] = _centered(power, prime)
        power = power * root % prime
    return values


def _centered(value: int, prime: int) -> int:
    return value - prime if value > prime // 2 else value


def _bit_reversed(count: int) -> np.ndarray:
    order = np.zeros(1, np.int64)
    while len(order) < count:
        order = np.concatenate((2 * order, 2 * order + 1))
    return order


@functools.cache
def primes() -> tuple[_Prime, ...]:
    """The primes of q with their tables."""
    return tuple(_Prime.of(value) for value in PRIMES)


@functools.cache
def _kernels() -> ctypes.CDLL:
    library = load_kernels("lattice")
    pointer, size, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    signatures = {
        "lattice_forward": [pointer, size, pointer, pointer, real],
        "lattice_inverse": [pointer, size, pointer, pointer, real, real, real],
        "lattice_multiply_add": [pointer, pointer, pointer, pointer, pointer, size, real],
        "lattice_add_masks": [pointer, pointer, size, pointer, real],
        "lattice_switch": [pointer, pointer, size, real, ctypes.c_uint32, real, real, real],
    }
    for name, arguments in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = None, arguments
    return library


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
        values = self._words(count) & np.uint64((1 << LIMB_BITS) - 1)
        while (rejected := values >= np.uint64(prime)).any():
            values[rejected] = self._words(int(rejected.sum())) & np.uint64((1 << LIMB_BITS) - 1)
        signed = values.astype(np.int64)
        return np.where(signed > prime // 2, signed - prime, signed).astype(np.float64)

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

    def masks(self, count: int) -> np.ndarray:
        """Uniform integers of MASK_BITS bits in limbs of 48 bits, uint64 [3, count]."""
        limbs = self._words(3 * count).reshape(3, count)
        limbs &= np.uint64((1 << LIMB_BITS) - 1)
        limbs[2] &= np.uint64((1 << (MASK_BITS - 2 * LIMB_BITS)) - 1)
        return limbs


def pack_residues(values: np.ndarray, prime: int) -> np.ndarray:
    """Residues as six octets each: float64 [...] -> uint8 [..., 6]."""
    words = values.astype(np.int64)
    words += (words < 0) * prime
    return np.ascontiguousarray(words.astype("<u8")).view(np.uint8).reshape(*values.shape, 8)[..., :RESIDUE_OCTETS]


def unpack_residues(octets: np.ndarray, prime: int) -> np.ndarray:
    """`pack_residues` read back: uint8 [..., 6] -> float64 in (-p/2, p/2); what is not a residue is reduced."""
    padded = np.zeros((*octets.shape[:-1], 8), np.uint8)
    padded[..., :RESIDUE_OCTETS] = octets
    words = padded.view("<i8")[..., 0] % prime
    return np.where(words > prime // 2, words - prime, words).astype(np.float64)


@dataclass(frozen=True)
class PublicKey:
    """An encryption of zero, transformed: float64 [primes, DEGREE] each."""

    first: np.ndarray
    second: np.ndarray


#: A public key on the link: its first part; the second one is expanded from the seed.
KEY_BYTES = SEED_BYTES + len(PRIMES) * DEGREE * RESIDUE_OCTETS
#: A ciphertext under the secret key on the link: its first part.
CIPHERTEXT_BYTES = len(PRIMES) * DEGREE * RESIDUE_OCTETS


def answer_bytes(coefficients: int) -> int:
    """One rerandomized ciphertext modulo p_0 of which some coefficients are wanted."""
    return (DEGREE + coefficients) * RESIDUE_OCTETS


class SecretKey:
    """The decrypting party's key."""

    def __init__(self) -> None:
        self._seed = fresh_bytes(SEED_BYTES)
        self._private, self._public = Sampler.fresh(), Sampler(self._seed)
        ternary = np.zeros((DEGREE, LANES))
        ternary[:, 0] = self._private.ternary(DEGREE)
        self._secret = np.empty((len(PRIMES), DEGREE))
        for index, prime in enumerate(primes()):
            transformed = ternary.copy()
            prime.forward(transformed)
            self._secret[index] = transformed[:, 0]

    def public_key(self) -> np.ndarray:
        """The message that gives the other party its `PublicKey`: uint8 [KEY_BYTES]; call it first and once."""
        zero = self.encrypt(np.zeros((1, DEGREE), np.uint32))
        return np.concatenate((np.frombuffer(self._seed, np.uint8), zero.reshape(-1)))

    def encrypt(self, messages: np.ndarray) -> np.ndarray:
        """Ciphertexts of uint32 [B, DEGREE] as they are sent: uint8 [B, CIPHERTEXT_BYTES]."""
        count = len(messages)
        result = np.empty((count, len(PRIMES), DEGREE, RESIDUE_OCTETS), np.uint8)
        for start in range(0, count, LANES):
            part = messages[start : start + LANES]
            phase = np.zeros((DEGREE, LANES))
            phase[:, : len(part)] = part.view(np.int32).T + float(_PLAIN) * self._private.errors(DEGREE, len(part))
            for index, prime in enumerate(primes()):
                transformed = phase.copy()
                prime.forward(transformed)
                for lane in range(len(part)):
                    mask = self._public.uniform(prime.value, DEGREE)
                    product = multiply_one(mask, self._secret[index], prime.value)
                    first = _reduced(transformed[:, lane] - product, prime.value)
                    result[start + lane, index] = pack_residues(first, prime.value)
        return result.reshape(count, -1)

    def decrypt(self, answers: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Wanted coefficients of answers: uint8 [B, answer_bytes(n)] and their n places -> uint32 [B, n]."""
        prime = primes()[0]
        residues = unpack_residues(answers.reshape(len(answers), -1, RESIDUE_OCTETS), prime.value)
        undo = np.uint32(PRIMES[1] * PRIMES[2] % _PLAIN)
        result = np.empty((len(answers), len(places)), np.uint32)
        for start in range(0, len(answers), LANES):
            part = residues[start : start + LANES]
            data = np.zeros((DEGREE, LANES))
            data[:, : len(part)] = part[:, :DEGREE].T
            prime.forward(data)
            product, unused = np.zeros_like(data), np.zeros_like(data)
            multiply_add(product, unused, data, self._secret[0], self._secret[0], prime.value)
            prime.inverse(product)
            phase = _reduced(product[places].T[: len(part)] + part[:, DEGREE:], prime.value)
            result[start : start + LANES] = phase.astype(np.int64).astype(np.uint32) * undo
        return result


class Evaluator:
    """The other party: products of received ciphertexts with its plaintexts, rerandomized and flooded."""

    def __init__(self, key_message: np.ndarray) -> None:
        self._public, self._private = Sampler(key_message[:SEED_BYTES].tobytes()), Sampler.fresh()
        zero = self.read(key_message[SEED_BYTES:].reshape(1, -1))[0]
        self._key = PublicKey(zero[0], zero[1])

    def read(self, message: np.ndarray) -> np.ndarray:
        """Ciphertexts as they were sent, in order: uint8 [B, CIPHERTEXT_BYTES] -> float64 [B, 2, primes, DEGREE]."""
        octets = message.reshape(len(message), len(PRIMES), DEGREE, RESIDUE_OCTETS)
        result = np.empty((len(message), 2, len(PRIMES), DEGREE))
        for start in range(0, len(message), LANES):
            for index, prime in enumerate(PRIMES):
                for place in range(start, min(len(message), start + LANES)):
                    result[place, 0, index] = unpack_residues(octets[place, index], prime)
                    result[place, 1, index] = self._public.uniform(prime, DEGREE)
        return result

    def answer(self, sums: np.ndarray, count: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finish LANES sums of products, float64 [2, primes, DEGREE, LANES], of which the first `count` are used.

        Returns: what is sent, uint8 [count, answer_bytes(n)], and the masks modulo 2^32 of the wanted coefficients,
        uint32 [count, n].
        """
        self._rerandomize(sums)
        limbs = self._private.masks(count * len(places))
        wanted = np.empty((len(PRIMES), count * len(places)))
        for index, prime in enumerate(PRIMES):
            wanted[index] = sums[0, index][places, :count].T.reshape(-1)
            powers = np.array([float(pow(2, power, prime)) for power in (48, 96, MASK_BITS - 1)])
            _kernels().lattice_add_masks(address(wanted[index]), address(limbs), limbs.shape[1], address(powers), prime)
        _drop_primes(wanted)
        second = np.ascontiguousarray(sums[1, :, :, :count].transpose(0, 2, 1)).reshape(len(PRIMES), -1)
        _drop_primes(second)
        first = pack_residues(wanted[0].reshape(count, -1), PRIMES[0])
        message = np.concatenate((pack_residues(second[0].reshape(count, -1), PRIMES[0]), first), axis=1)
        return message.reshape(count, -1), limbs[0].astype(np.uint32).reshape(count, -1)

    def _rerandomize(self, sums: np.ndarray) -> None:
        """Add an encryption of zero under the public key and leave the transformed domain."""
        ternary = self._private.ternary(DEGREE, LANES)
        for index, prime in enumerate(primes()):
            factor = ternary.copy()
            prime.forward(factor)
            multiply_add(
                sums[0, index], sums[1, index], factor, self._key.first[index], self._key.second[index], prime.value
            )
            prime.inverse(sums[0, index])
            prime.inverse(sums[1, index])
        sums[1] += float(_PLAIN) * self._private.errors(DEGREE, LANES)


def multiply_add(
    first: np.ndarray, second: np.ndarray, factor: np.ndarray, c0: np.ndarray, c1: np.ndarray, prime: int
) -> None:
    """Add factor·(c_0, c_1) to two sums; factor and sums are [DEGREE, LANES], c_0 and c_1 [DEGREE]."""
    arrays = [address(array) for array in (first, second, factor, c0, c1)]
    _kernels().lattice_multiply_add(*arrays, DEGREE, prime)


def multiply_one(a: np.ndarray, b: np.ndarray, prime: int) -> np.ndarray:
    """Products of residues, float64 [DEGREE]."""
    factor = np.zeros((DEGREE, LANES))
    factor[:, 0] = a
    product, unused = np.zeros_like(factor), np.zeros_like(factor)
    multiply_add(product, unused, factor, b, b, prime)
    return product[:, 0]


def _reduced(values: np.ndarray, prime: int) -> np.ndarray:
    """Into (-p/2, p/2)."""
    return values - np.rint(values / prime) * prime


def _drop_primes(residues: np.ndarray) -> None:
    """From q to p_0: residues float64 [primes, n], of which the first row remains."""
    for last in range(len(PRIMES) - 1, 0, -1):
        dropped = PRIMES[last]
        negative_inverse = -pow(dropped, -1, _PLAIN) % _PLAIN
        for index in range(last):
            prime = PRIMES[index]
            inverse = float(_centered(pow(dropped, -1, prime), prime))
            sizes = residues.shape[1], dropped, negative_inverse, dropped - prime, inverse, prime
            _kernels().lattice_switch(address(residues[index]), address(residues[last]), *sizes)
