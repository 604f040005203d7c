"""The sizes of q: the smallest that hides enough of the images and products of a set.

All are within what the Homomorphic Encryption Security Standard (2018, table 1) allows for n = 8192 and 128 bits of
classical security, 218 bits. What comes back is flooded with one bit less than q has, so that every bit more of q is a
bit more of statistical security; ciphertexts are as much longer. Answers come modulo p_0, whose 44 bits are enough: of
what it holds, dropping the other primes adds a sum of 8,193 uniform roundings, beyond a quarter of p_0 in less than one
of 2^300 coefficients (Hoeffding).
"""

from __future__ import annotations

from dataclasses import dataclass

from .polynomials import DEGREE, PLAIN, PRIMES, Prime, packed_octets
from .sampling import SEED_BYTES


@dataclass(frozen=True)
class Modulus:
    """q as the product of the first `count` primes of so many bits."""

    prime_bits: int
    count: int

    @property
    def bits(self) -> int:
        """Of q."""
        return self.prime_bits * self.count

    @property
    def values(self) -> tuple[int, ...]:
        return PRIMES[self.prime_bits][: self.count]

    @property
    def tables(self) -> tuple[Prime, ...]:
        return tuple(map(Prime.of, self.values))

    @property
    def mask_bits(self) -> int:
        """Masks are uniform on so many bits."""
        return self.bits - 1

    @property
    def undo(self) -> int:
        """What dropping all primes but p_0 divides by, modulo 2^32."""
        product = 1
        for dropped in self.values[1:]:
            product = product * dropped % PLAIN
        return product

    def residue_octets(self, count: int) -> int:
        """Octets of some residues modulo one of the primes."""
        return packed_octets(count, self.values[0])

    @property
    def ciphertext_bytes(self) -> int:
        """A ciphertext under the secret key on the link: its first part."""
        return self.count * self.residue_octets(DEGREE)

    @property
    def key_bytes(self) -> int:
        """A public key on the link: its first part; the second one is expanded from the seed."""
        return SEED_BYTES + self.ciphertext_bytes

    def answer_bytes(self, coefficients: int) -> int:
        """One rerandomized ciphertext modulo p_0 of which some coefficients are wanted."""
        return self.residue_octets(DEGREE) + self.residue_octets(coefficients)


#: 132, 144 and 192 bits.
SMALL, MEDIUM, LARGE = MODULI = Modulus(44, 3), Modulus(48, 3), Modulus(48, 4)
