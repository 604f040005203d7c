"""Polynomials modulo X^n + 1 and the primes of q, several side by side, as `lattice.c` computes with them.

Residues are float64 that hold integers. In the transformed domain products are pointwise; its order of points is that
of the kernels.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....native.backend import require
from ....native.library import EXACT_OPTIONS, Signatures, address

_SOURCE = Path(__file__).with_name("lattice.c")

DEGREE = 8192
#: By their bits; congruent 1 modulo 2 n, and near each other: dropping one multiplies their differences by 32 bits.
PRIMES = {
    44: (2**44 - 16383, 2**44 - 606207, 2**44 - 1327103),
    48: (2**48 - 16383, 2**48 - 163839, 2**48 - 393215, 2**48 - 1048575),
}
LIMB_BITS = 48
LANES = 4
#: Blocks that the first four layers of a transform make.
BLOCKS = 16

PLAIN_BITS = 32
PLAIN = 1 << PLAIN_BITS


@dataclass(frozen=True)
class Prime:
    """A prime's tables for the kernels."""

    value: int
    roots: np.ndarray
    ratios: np.ndarray
    inverse_roots: np.ndarray
    inverse_ratios: np.ndarray
    scale: float

    @staticmethod
    @functools.cache
    def of(value: int) -> Prime:
        """The tables of a prime."""
        root = next(
            candidate
            for base in range(2, 1000)
            if pow(candidate := pow(base, (value - 1) // (2 * DEGREE), value), DEGREE, value) == value - 1
        )
        order = _bit_reversed(DEGREE)
        forward, backward = (_powers(power, value)[order] for power in (root, pow(root, -1, value)))
        scale = float(centered(pow(DEGREE, -1, value), value))
        return Prime(value, forward, forward / value, backward, backward / value, scale)

    @functools.cached_property
    def integer_tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The roots as uint64 in [0, p), ⌊root·2^52 / p⌋, and z^k·2^104 for the blocks X^512 − z of four layers.

        The last ones are [k, block], Montgomery factors included (`integer_products.c`).
        """
        roots = [int(root) % self.value for root in self.roots]
        half = BLOCKS // 2
        points = [sign * roots[half + block // 2] for block, sign in zip(range(BLOCKS), (1, -1) * half)]
        corners = [[pow(point, k, self.value) * 2**104 % self.value for point in points] for k in range(BLOCKS)]
        ratios = [(root << 52) // self.value for root in roots]
        return np.array(roots, np.uint64), np.array(ratios, np.uint64), np.array(corners, np.uint64)

    def forward(self, data: np.ndarray) -> None:
        """Transform float64 [DEGREE, LANES] in place."""
        lattice_kernels().lattice_forward(address(data), DEGREE, address(self.roots), address(self.ratios), self.value)

    def inverse(self, data: np.ndarray) -> None:
        """Transform float64 [DEGREE, LANES] back, in place."""
        tables = address(self.inverse_roots), address(self.inverse_ratios)
        lattice_kernels().lattice_inverse(
            address(data), DEGREE, *tables, self.scale, self.scale / self.value, self.value
        )

    def convolve(
        self,
        sizes: np.ndarray,
        weights: np.ndarray,
        taps: np.ndarray,
        outputs: range,
        ciphertexts: np.ndarray,
        inputs: int,
        held: int,
        count: int,
        sums: np.ndarray,
    ) -> None:
        """Add the products of transformed ciphertexts with the weights of some output polynomials to `sums`.

        Args:
            sizes: how weights lie in polynomials, and `taps` (`ConvPacking.weight_layout`).
            weights: arranged, uint32 [O, C, taps].
            taps: distances of a kernel's taps.
            outputs: at most LANES polynomials.
            ciphertexts: float64 from this prime's first residue on, of [held, inputs, 2, primes, DEGREE].
            inputs: input polynomials.
            held: tiles of all images.
            count: primes of the modulus.
            sums: zeros, float64 from this prime's first residue on, of [held, 2, primes, DEGREE, LANES].
        """
        places = address(sizes), address(weights), address(taps), outputs.start, outputs.stop
        operands = address(ciphertexts), inputs, held, count * DEGREE, address(sums), DEGREE
        polynomial = np.empty((DEGREE, LANES))
        tables = address(self.roots), address(self.ratios), self.value, address(polynomial)
        lattice_kernels().lattice_convolve(*places, *operands, *tables)


def _powers(root: int, prime: int) -> np.ndarray:
    values, power = np.empty(DEGREE), 1
    for index in range(DEGREE):
        values[index] = centered(power, prime)
        power = power * root % prime
    return values


def centered(value: int, prime: int) -> int:
    return value - prime if value > prime // 2 else value


def _bit_reversed(count: int) -> np.ndarray:
    order = np.zeros(1, np.int64)
    while len(order) < count:
        order = np.concatenate((2 * order, 2 * order + 1))
    return order


@functools.cache
def primes() -> tuple[Prime, ...]:
    """All primes with their tables."""
    return tuple(Prime.of(value) for values in PRIMES.values() for value in values)


_POINTER, _SIZE, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_SIGNATURES: Signatures = {
    "lattice_forward": (None, [_POINTER, _SIZE, _POINTER, _POINTER, _REAL]),
    "lattice_inverse": (None, [_POINTER, _SIZE, _POINTER, _POINTER, _REAL, _REAL, _REAL]),
    "lattice_multiply_add": (None, [_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _SIZE, _REAL]),
    "lattice_multiply_one": (None, [_POINTER, _POINTER, _POINTER, _SIZE, _REAL]),
    "lattice_convolve": (
        None,
        [
            *(_POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _SIZE),
            *(_POINTER, _POINTER, _REAL, _POINTER),
        ],
    ),
    "lattice_pack": (None, [_POINTER, _SIZE, _SIZE, _REAL, _SIZE, _POINTER]),
    "lattice_unpack": (None, [_POINTER, _SIZE, _SIZE, _REAL, _SIZE, _POINTER]),
    "lattice_residues": (_SIZE, [_POINTER, _SIZE, _REAL, _SIZE, _POINTER]),
    "lattice_ternary": (_SIZE, [_POINTER, _SIZE, _POINTER]),
    "lattice_errors": (None, [_POINTER, _SIZE, _SIZE, _POINTER]),
    "lattice_add_masks": (None, [_POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _REAL]),
    "lattice_switch": (None, [_POINTER, _POINTER, _SIZE, _REAL, ctypes.c_uint32, _REAL, _REAL, _REAL]),
}


@functools.cache
def lattice_kernels() -> ctypes.CDLL:
    """The compiled kernels.

    Raises:
        Refusal: they cannot be compiled here, or compute wrongly.
    """
    return require(_SOURCE, EXACT_OPTIONS, _SIGNATURES, _multiplies_monomials, "two-party preprocessing")


def _multiplies_monomials(library: ctypes.CDLL) -> bool:
    """Whether (a·X^i)(b·X^j) = −ab·X^(i+j−n) modulo every prime, beyond the degree where the sign turns."""
    for prime in primes():
        first, second = prime.value // 2 - 12345, 98765432109
        data = [np.zeros((DEGREE, LANES)) for _ in range(4)]
        data[0][DEGREE - 3, :], data[1][7, :] = first, second
        for polynomial in data[:2]:
            tables = address(prime.roots), address(prime.ratios), prime.value
            library.lattice_forward(address(polynomial), DEGREE, *tables)
        factor = np.ascontiguousarray(data[1][:, 0])
        sums = address(data[2]), address(data[3])
        library.lattice_multiply_add(*sums, address(data[0]), address(factor), address(factor), DEGREE, prime.value)
        inverse_tables = address(prime.inverse_roots), address(prime.inverse_ratios)
        sizes = prime.scale, prime.scale / prime.value, prime.value
        library.lattice_inverse(address(data[2]), DEGREE, *inverse_tables, *sizes)
        expected = np.zeros((DEGREE, LANES))
        expected[4, :] = centered(-first * second % prime.value, prime.value)
        if not np.array_equal(data[2], expected):
            return False
    return True


def packed_octets(count: int, prime: int) -> int:
    """Octets of some residues, one after the other in as many bits as the prime has."""
    return -(-count * prime.bit_length() // 8)


def pack_residues(values: np.ndarray, prime: int) -> np.ndarray:
    """Rows of residues as octets: float64 [..., n] -> uint8 [..., packed_octets(n)]."""
    count = values.shape[-1]
    rows = np.ascontiguousarray(values).reshape(-1, count)
    octets = np.empty((len(rows), packed_octets(count, prime)), np.uint8)
    sizes = len(rows), count, prime, prime.bit_length()
    lattice_kernels().lattice_pack(address(rows), *sizes, address(octets))
    return octets.reshape(*values.shape[:-1], -1)


def unpack_residues(octets: np.ndarray, prime: int, count: int) -> np.ndarray:
    """`pack_residues` read back: float64 [..., n] in (-p/2, p/2); what is not a residue is reduced."""
    rows = np.ascontiguousarray(octets).reshape(-1, packed_octets(count, prime))
    values = np.empty((len(rows), count))
    sizes = len(rows), count, prime, prime.bit_length()
    lattice_kernels().lattice_unpack(address(rows), *sizes, address(values))
    return values.reshape(*octets.shape[:-1], count)


def residues_of(words: np.ndarray, prime: int, values: np.ndarray) -> int:
    """The low bits of uint64 words as residues, float64 `values`; returns how many of them are none."""
    arguments = address(words), words.size, prime, prime.bit_length(), address(values)
    return int(lattice_kernels().lattice_residues(*arguments))


def multiply_add(
    first: np.ndarray, second: np.ndarray, factor: np.ndarray, c0: np.ndarray, c1: np.ndarray, prime: int
) -> None:
    """Add factor·(c_0, c_1) to two sums; factor and sums are [DEGREE, LANES], c_0 and c_1 [DEGREE]."""
    arrays = [address(array) for array in (first, second, factor, c0, c1)]
    lattice_kernels().lattice_multiply_add(*arrays, DEGREE, prime)


def multiply_one(total: np.ndarray, factor: np.ndarray, c: np.ndarray, prime: int) -> None:
    """Add factor·c to one sum; factor and the sum are [DEGREE, LANES], c [DEGREE]."""
    arrays = [address(array) for array in (total, factor, c)]
    lattice_kernels().lattice_multiply_one(*arrays, DEGREE, prime)


def reduced(values: np.ndarray, prime: int) -> np.ndarray:
    """Into (-p/2, p/2)."""
    return values - np.rint(values / prime) * prime


def drop_primes(residues: np.ndarray, values: tuple[int, ...]) -> None:
    """From q, the product of `values`, to p_0: residues float64 [primes, n], of which the first row remains."""
    for last in range(len(residues) - 1, 0, -1):
        dropped = values[last]
        negative_inverse = -pow(dropped, -1, PLAIN) % PLAIN
        for index in range(last):
            prime = values[index]
            inverse = float(centered(pow(dropped, -1, prime), prime))
            sizes = residues.shape[1], dropped, negative_inverse, dropped - prime, inverse, prime
            lattice_kernels().lattice_switch(address(residues[index]), address(residues[last]), *sizes)
