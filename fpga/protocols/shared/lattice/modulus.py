"""The two sizes of q: the smaller one where it hides enough, the larger one where images or products are many.

Both are within what the Homomorphic Encryption Security Standard (2018, table 1) allows for n = 8192 and 128 bits of
classical security, 218 bits. What comes back is flooded with one bit less than q has, so that 48 bits more of q are 48
bits more of statistical security; ciphertexts are a third longer, answers are not, as they come modulo p_0.
"""

from __future__ import annotations

from dataclasses import dataclass

from .polynomials import DEGREE, LIMB_BITS, PLAIN, PRIMES, RESIDUE_OCTETS, Prime, primes
from .sampling import SEED_BYTES


@dataclass(frozen=True)
class Modulus:
    """q as the product of the first `count` primes."""

    count: int

    @property
    def values(self) -> tuple[int, ...]:
        return PRIMES[: self.count]

    @property
    def tables(self) -> tuple[Prime, ...]:
        return primes()[: self.count]

    @property
    def mask_bits(self) -> int:
        """Masks are uniform on so many bits."""
        return LIMB_BITS * self.count - 1

    @property
    def undo(self) -> int:
        """What dropping all primes but p_0 divides by, modulo 2^32."""
        product = 1
        for dropped in self.values[1:]:
            product = product * dropped % PLAIN
        return product

    @property
    def ciphertext_bytes(self) -> int:
        """A ciphertext under the secret key on the link: its first part."""
        return self.count * DEGREE * RESIDUE_OCTETS

    @property
    def key_bytes(self) -> int:
        """A public key on the link: its first part; the second one is expanded from the seed."""
        return SEED_BYTES + self.ciphertext_bytes


#: 144 and 192 bits.
SMALL, LARGE = MODULI = Modulus(3), Modulus(4)
