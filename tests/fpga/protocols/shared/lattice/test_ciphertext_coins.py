"""Ciphertexts have their errors and their flooding, all of them, and fresh ones each time."""

import numpy as np
import pytest
from helpers.statistics import LIMIT, assert_full_entropy, chi_square

from rrnet_nni.fpga.protocols.shared.lattice.encryption import Evaluator, SecretKey
from rrnet_nni.fpga.protocols.shared.lattice.modulus import MODULI
from rrnet_nni.fpga.protocols.shared.lattice.polynomials import (
    DEGREE,
    LANES,
    PLAIN,
    multiply_add,
    unpack_residues,
)
from rrnet_nni.fpga.protocols.shared.lattice.sampling import ERROR_BITS, SEED_BYTES, Sampler

#: Variance of the centered binomial distribution.
VARIANCE = ERROR_BITS / 2


@pytest.fixture(scope="module", params=MODULI, ids=lambda modulus: f"{modulus.bits} bits")
def modulus(request):
    return request.param


@pytest.fixture(scope="module")
def key(modulus):
    return SecretKey(modulus)


@pytest.fixture(scope="module")
def evaluator(key, modulus):
    return Evaluator(key.public_key(), modulus)


def times(prime, index, factor, key_part):
    """The product of a transformed polynomial with one that is not, float64 [DEGREE, LANES], not transformed."""
    transformed = factor.copy()
    prime.forward(transformed)
    product, unused = np.zeros_like(transformed), np.zeros_like(transformed)
    multiply_add(product, unused, transformed, key_part[index], key_part[index], prime.value)
    prime.inverse(product)
    return product


def phases(key, ciphertexts, modulus):
    """Centered c_0 + c_1·s modulo each prime, [primes, B, DEGREE], of transformed [B, 2, primes, DEGREE]."""
    count = ciphertexts.shape[2]
    result = np.zeros((count, len(ciphertexts), DEGREE))
    for index, prime in enumerate(modulus.tables):
        for row, (first, second) in enumerate(ciphertexts[:, :, index]):
            product, unused = np.zeros((DEGREE, LANES)), np.zeros((DEGREE, LANES))
            lanes = np.zeros((DEGREE, LANES))
            lanes[:, 0] = second
            multiply_add(product, unused, lanes, key._secret[index], key._secret[index], prime.value)
            product[:, 0] += first
            prime.inverse(product)
            result[index, row] = product[:, 0]
    values = zip(result, modulus.values, strict=True)
    return np.array([[np.rint(value - np.rint(value / p) * p) for value in rows] for rows, p in values])


def assert_errors(errors):
    """Centered binomial: within its range, with its variance from below as from above, and independent in place."""
    errors = np.asarray(errors, float)
    assert np.array_equal(errors, np.rint(errors))
    assert np.abs(errors).max() <= ERROR_BITS
    spread = VARIANCE * np.sqrt(2 / errors.size)
    assert abs(errors.var() - VARIANCE) < LIMIT * spread
    assert abs(errors.mean()) < LIMIT * np.sqrt(VARIANCE / errors.size)
    rows = errors.reshape(-1, DEGREE)
    shifted = (rows[:, 1:] * rows[:, :-1]).mean() / VARIANCE
    assert abs(shifted) < LIMIT / np.sqrt(errors.size)


def test_every_fresh_ciphertext_has_its_whole_error_and_one_of_its_own(modulus, key, evaluator):
    """Modulo every prime the same small error, otherwise the prime alone would be a ciphertext without one."""
    messages = np.zeros((6, DEGREE), np.uint32)
    seen = phases(key, evaluator.read(key.encrypt(messages)), modulus)
    errors = seen / PLAIN
    assert all(np.array_equal(errors[0], other) for other in errors[1:])
    assert_errors(errors[0])
    for first in range(6):
        for second in range(first):
            assert abs((errors[0, first] * errors[0, second]).mean() / VARIANCE) < LIMIT / np.sqrt(DEGREE)


def test_the_public_key_is_an_encryption_of_zero_with_its_error(modulus, key, evaluator):
    pair = np.stack((evaluator._key.first, evaluator._key.second))[None]
    errors = phases(key, pair, modulus) / PLAIN
    assert np.array_equal(errors[0], errors[1])
    assert_errors(errors[0, 0])


def test_rerandomization_takes_a_fresh_ternary_factor_and_a_fresh_error(modulus, evaluator):
    """Of a sum of zero: the second part is a·u + t·e_2 for the public a; both are drawn anew for every answer."""
    errors, factors = [], []
    for seed in (b"0123456789abcdef", b"fedcba9876543210"):
        evaluator._private = Sampler(seed)
        sums = np.zeros((2, modulus.count, DEGREE, LANES))
        evaluator._rerandomize(sums)
        ternary = Sampler(seed).ternary(DEGREE, LANES)
        factors.append(ternary)
        for index, prime in enumerate(modulus.tables):
            rest = sums[1, index] - times(prime, index, ternary, evaluator._key.second)
            rest -= np.rint(rest / prime.value) * prime.value
            errors.append(rest / PLAIN)
    evaluator._private = Sampler.fresh()
    for first in errors[: modulus.count]:
        assert np.array_equal(first, errors[0])
    assert_errors(errors[0].T)
    assert_errors(errors[modulus.count].T)
    assert not np.array_equal(errors[0], errors[modulus.count])
    for factor in factors:
        assert abs((factor != 0).mean() - 2 / 3) < 0.02
        assert abs(factor.mean()) < 0.03


def test_what_the_evaluator_draws_for_one_answer_it_does_not_draw_for_the_next(modulus, evaluator):
    places = np.arange(DEGREE)
    answers = [evaluator.answer(np.zeros((2, modulus.count, DEGREE, LANES)), 1, places) for _ in range(2)]
    (first, first_masks), (second, second_masks) = answers
    assert (first_masks == second_masks).mean() < 0.01
    assert np.mean(first.reshape(-1) == second.reshape(-1)) < 0.02


def test_flooding_fills_the_whole_interval_that_is_decrypted(modulus, key, evaluator):
    """An answer to nothing: its phase is the mask alone, uniform from the top octet on, 42 or 46 bits and a sign."""
    answers, masks = evaluator.answer(np.zeros((2, modulus.count, DEGREE, LANES)), LANES, np.arange(DEGREE))
    prime = modulus.tables[0]
    residues = unpack_residues(answers.reshape(2 * LANES, -1), prime.value, DEGREE).reshape(LANES, 2, DEGREE)
    phase = times(prime, 0, np.ascontiguousarray(residues[:, 0].T), key._secret).T + residues[:, 1]
    phase = (phase - np.rint(phase / prime.value) * prime.value).astype(np.int64)
    # dropping primes rounds it: by 21·2^32 in the mean square
    reach = 2 ** (modulus.prime_bits - 2)
    rounding = 8 * 21.3 * 2**32
    assert -reach - rounding < phase.min() < -reach * 0.99
    assert reach * 0.99 < phase.max() < reach + rounding
    inside = phase[np.abs(phase) < reach]
    for shift in (modulus.prime_bits - 9, modulus.prime_bits - 17):  # the top octet, and the one below
        assert abs(chi_square(((inside + reach) >> shift).astype(np.uint8))) < LIMIT
    assert abs(chi_square(masks)) < LIMIT


def test_secret_keys_and_samplers_start_from_fresh_seeds(monkeypatch):
    seeds = []
    real = Sampler.__init__
    monkeypatch.setattr(Sampler, "__init__", lambda self, seed: (seeds.append(seed), real(self, seed))[1])
    for _ in range(210):
        Sampler.fresh()
    assert_full_entropy(seeds, SEED_BYTES)
    secrets = [SecretKey()._secret[0] for _ in range(2)]
    assert not np.array_equal(*secrets)
