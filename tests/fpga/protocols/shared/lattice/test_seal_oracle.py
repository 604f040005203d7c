"""Our ring-LWE against Microsoft SEAL: what we encrypt, multiply and answer, SEAL decrypts, and the other way round."""

import numpy as np
import pytest

from rrnet_nni.fpga.protocols.shared.lattice.encryption import Evaluator, SecretKey
from rrnet_nni.fpga.protocols.shared.lattice.modulus import MODULI, Modulus
from rrnet_nni.fpga.protocols.shared.lattice.polynomials import DEGREE, LANES, multiply_add, unpack_residues

pytest.importorskip("seal", reason="the development extra has SEAL")
from seal_oracle import SealOracle

#: Bits by which the noise of two fresh ciphertexts may differ: its largest of 8192 coefficients varies.
NOISE_BITS = 2


class Both:
    """Our parties under one secret, and SEAL under the same."""

    def __init__(self, modulus):
        self.modulus, self.key = modulus, SecretKey(modulus)
        self.evaluator = Evaluator(self.key.public_key(), modulus)
        self.secret = self.plain(self.key._secret[:1])[0]
        self.seal = SealOracle(modulus.values, self.secret)

    def plain(self, transformed):
        """Residues [primes, DEGREE] out of the transformed domain, int64."""
        result = np.empty(transformed.shape, np.int64)
        for index, prime in enumerate(self.modulus.tables[: len(transformed)]):
            data = np.zeros((DEGREE, LANES))
            data[:, 0] = transformed[index]
            prime.inverse(data)
            result[index] = np.rint(data[:, 0])
        return result

    def of_ours(self, ciphertext):
        """SEAL's ciphertext of ours, transformed [2, primes, DEGREE]."""
        return self.seal.ciphertext(np.stack([self.plain(part) for part in ciphertext]))

    def sums_of(self, parts):
        """Our transformed sums [2, primes, DEGREE, LANES] of residues [2, primes, DEGREE] in the first lane."""
        sums = np.zeros((2, self.modulus.count, DEGREE, LANES))
        for index, prime in enumerate(self.modulus.tables):
            half = prime.value // 2
            for part in (0, 1):
                centered = (parts[part, index].astype(np.int64) + half) % prime.value - half
                sums[part, index, :, 0] = centered
                prime.forward(sums[part, index])
        return sums


@pytest.fixture(scope="module", params=MODULI, ids=lambda modulus: f"{modulus.bits} bits")
def both(request):
    return Both(request.param)


def messages(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**32, (count, DEGREE), np.uint32)


def test_the_secret_is_ternary_and_seal_takes_it(both):
    assert set(np.unique(both.secret)) == {-1, 0, 1}


def test_seal_decrypts_what_we_encrypt_and_finds_as_much_noise_in_it_as_in_its_own(both):
    plain = messages(2)
    ciphertexts = both.evaluator.read(both.key.encrypt(plain))
    for message, ciphertext in zip(plain, ciphertexts, strict=True):
        ours, theirs = both.of_ours(ciphertext), both.seal.encrypt(message)
        assert np.array_equal(both.seal.decrypt(ours), message)
        assert np.array_equal(both.seal.decrypt(theirs), message)
        assert both.seal.noise_budget(ours) == pytest.approx(both.seal.noise_budget(theirs), abs=NOISE_BITS)


def test_products_and_sums_have_the_residues_that_seal_computes(both):
    ciphertexts = both.evaluator.read(both.key.encrypt(messages(3, seed=1)))
    generator = np.random.default_rng(2)
    polynomials = np.zeros((3, DEGREE), np.int64)
    for polynomial in polynomials:
        polynomial[generator.choice(DEGREE, 60, replace=False)] = generator.integers(-(2**31) + 1, 2**31, 60)
    sums = np.zeros((2, both.modulus.count, DEGREE, LANES))
    for ciphertext, polynomial in zip(ciphertexts, polynomials, strict=True):
        for index, prime in enumerate(both.modulus.tables):
            factor = np.zeros((DEGREE, LANES))
            factor[:, 0] = polynomial
            prime.forward(factor)
            multiply_add(sums[0, index], sums[1, index], factor, *ciphertext[:, index], prime.value)
    theirs = both.seal.residues(both.seal.sum_of_products(map(both.of_ours, ciphertexts), polynomials))
    ours = np.stack([both.plain(np.ascontiguousarray(part[:, :, 0])) for part in sums])
    for index, prime in enumerate(both.modulus.values):
        assert np.array_equal(ours[:, index] % prime, theirs[:, index].astype(np.int64))


def test_seal_decrypts_our_answers_modulo_the_last_prime(both):
    """Rerandomized, flooded and switched to p_0: SEAL's phase, times what the primes divide by, is our decryption."""
    sums = both.sums_of(np.stack([both.plain(part) for part in both.evaluator.read(both.key.encrypt(messages(1)))[0]]))
    places = np.arange(DEGREE)
    answers, masks = both.evaluator.answer(sums, 1, places)
    ours = both.key.decrypt(answers, places)[0]
    assert np.array_equal(ours - masks[0], messages(1)[0])
    residues = unpack_residues(answers.reshape(2, -1), both.modulus.values[0], DEGREE).astype(np.int64)
    alone = SealOracle(Modulus(both.modulus.prime_bits, 1).values, both.secret)
    theirs = alone.decrypt(alone.ciphertext(residues[::-1, None]))
    assert np.array_equal(theirs * np.uint32(both.modulus.undo), ours)


def test_we_decrypt_what_seal_encrypts_and_multiplies(both):
    message, polynomial = messages(1, seed=5)[0], np.zeros(DEGREE, np.int64)
    polynomial[[0, 9, 4000]] = 3, -(2**30), 12345
    theirs = both.seal.sum_of_products([both.seal.encrypt(message)], [polynomial])
    answers, masks = both.evaluator.answer(both.sums_of(both.seal.residues(theirs)), 1, np.arange(DEGREE))
    ours = both.key.decrypt(answers, np.arange(DEGREE))[0] - masks[0]
    assert np.array_equal(ours, both.seal.decrypt(theirs))
