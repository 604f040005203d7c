"""Ring-LWE arithmetic against exact integers, its noise against its bound, and the view of the party that decrypts."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.program import ConvOp, LinearOp
from rrnet_nni.fpga.protocols.shared.lattice.encryption import Evaluator, SecretKey, hidden_deviation, noise_bound
from rrnet_nni.fpga.protocols.shared.lattice.modulus import LARGE, MEDIUM, MODULI, SMALL
from rrnet_nni.fpga.protocols.shared.lattice.polynomials import (
    DEGREE,
    LANES,
    PLAIN,
    PRIMES,
    multiply_add,
    pack_residues,
    packed_octets,
    primes,
    unpack_residues,
)
from rrnet_nni.fpga.protocols.shared.lattice.sampling import ERROR_BITS, Sampler
from rrnet_nni.fpga.protocols.shared.preparation import (
    STATISTICAL_BITS,
    images_within,
    modulus_for,
    set_bits,
    statistical_bits,
)
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder

each_modulus = pytest.mark.parametrize("modulus", MODULI, ids=lambda modulus: f"{modulus.bits} bits")
#: Homomorphic Encryption Security Standard (2018), table 1, ternary secrets, 128 bits classical: log2 q by degree.
STANDARD_BITS = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438}


def is_prime(value):
    """Miller and Rabin with bases that are exact below 3.3e24."""
    odd, twos = value - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):
        power = pow(base, odd, value)
        if power not in (1, value - 1) and all((power := power * power % value) != value - 1 for _ in range(twos - 1)):
            return False
    return True


def centered(values, modulus):
    return [(int(value) + modulus // 2) % modulus - modulus // 2 for value in values]


def test_the_parameters_are_within_the_standard():
    bits = [math.prod(modulus.values).bit_length() for modulus in MODULI]
    assert bits == [132, 144, 192] == [modulus.bits for modulus in MODULI]
    assert max(bits) <= STANDARD_BITS[DEGREE]
    for size, values in PRIMES.items():
        assert all(is_prime(prime) and prime % (2 * DEGREE) == 1 for prime in values)
        assert all(prime.bit_length() == size <= 48 for prime in values)


def test_errors_and_secrets_have_their_distributions():
    errors = Sampler.fresh().errors(1 << 18)
    assert np.abs(errors).max() <= ERROR_BITS
    assert errors.mean() == pytest.approx(0, abs=0.05)
    assert errors.std() == pytest.approx((ERROR_BITS / 2) ** 0.5, rel=0.02)
    counts = np.bincount(Sampler.fresh().ternary(1 << 18).astype(int) + 1, minlength=3)
    assert np.abs(counts - (1 << 18) / 3).max() < 6 * ((1 << 18) * 2 / 9) ** 0.5


@pytest.mark.parametrize("index", range(7))
def test_a_product_in_the_transformed_domain_is_the_negacyclic_product(index):
    prime = primes()[index]
    generator = np.random.default_rng(index)
    half = prime.value // 2
    sparse = generator.choice(DEGREE, 5, replace=False)
    factor, dense = np.zeros((DEGREE, LANES)), np.zeros((DEGREE, LANES))
    factor[sparse] = generator.integers(-half, half + 1, (5, LANES))
    dense[:, 0] = generator.integers(-half, half + 1, DEGREE)
    exact = [0] * DEGREE
    for place in sparse:
        for j in range(DEGREE):
            sign = 1 if place + j < DEGREE else -1
            exact[(place + j) % DEGREE] += sign * int(factor[place, 2]) * int(dense[j, 0])
    transformed = factor.copy(), dense.copy()
    for data in transformed:
        prime.forward(data)
        assert np.abs(data).max() <= half + 1
    product, unused = np.zeros_like(factor), np.zeros_like(factor)
    other = np.ascontiguousarray(transformed[1][:, 0])
    multiply_add(product, unused, transformed[0], other, other, prime.value)
    prime.inverse(product)
    assert np.array_equal(product, np.rint(product))
    assert centered(product[:, 2], prime.value) == centered(exact, prime.value)


@pytest.mark.parametrize("extreme", ["largest", "alternating", "random"])
def test_transforms_are_exact_at_the_ends_of_their_range(extreme):
    for prime in primes():
        half = prime.value // 2
        data = {
            "largest": np.full((DEGREE, LANES), float(half)),
            "alternating": np.where(np.arange(DEGREE)[:, None] % 2, -half, half) * np.ones((1, LANES)),
            "random": np.random.default_rng(0).integers(-half, half + 1, (DEGREE, LANES)).astype(float),
        }[extreme]
        there = data.copy()
        prime.forward(there)
        prime.inverse(there)
        assert centered(there.reshape(-1), prime.value) == centered(data.reshape(-1), prime.value)


@given(st.lists(st.integers(0, PRIMES[48][3] - 1), min_size=1, max_size=20))
@settings(max_examples=20)
def test_residues_survive_the_link(values):
    for prime in (each.value for each in primes()):
        residues = np.array([centered(values, prime), centered(values[::-1], prime)], float)
        packed = pack_residues(residues, prime)
        assert packed.shape == (2, packed_octets(len(values), prime))
        whole = sum(int(value) % prime << prime.bit_length() * place for place, value in enumerate(residues[0]))
        assert packed[0].tobytes() == whole.to_bytes(packed.shape[1], "little")
        assert np.array_equal(unpack_residues(packed, prime, len(values)), residues)


def products(nonzeros, count, generator, value=None, modulus=SMALL):
    """Ciphertexts of random messages, sparse plaintexts (all `value` if given), and their sum of products."""
    key = SecretKey(modulus)
    evaluator = Evaluator(key.public_key(), modulus)
    messages = generator.integers(0, 2**32, (count, DEGREE), np.uint32)
    ciphertexts = evaluator.read(key.encrypt(messages))
    plain = np.zeros((count, DEGREE, LANES))
    places = np.stack([generator.choice(DEGREE, nonzeros, replace=False) for _ in range(count)])
    for index, row in enumerate(places):
        plain[index, row] = generator.integers(-(2**31), 2**31, (nonzeros, LANES)) if value is None else value
    sums = np.zeros((2, modulus.count, DEGREE, LANES))
    for index, prime in enumerate(modulus.tables):
        for ciphertext, polynomial in zip(ciphertexts, plain):
            factor = polynomial.copy()
            prime.forward(factor)
            first, second = ciphertext[:, index]
            multiply_add(sums[0, index], sums[1, index], factor, first, second, prime.value)
    return key, evaluator, messages, plain, sums


def exact_sum(messages, plain, lane):
    """The sum of products modulo 2^32, uint32 [DEGREE]."""
    total = np.zeros(DEGREE, np.uint32)
    for message, polynomial in zip(messages, plain):
        for place in np.nonzero(polynomial[:, lane])[0]:
            shifted = np.roll(message, place)
            shifted[:place] = np.uint32(0) - shifted[:place]
            total += np.uint32(int(polynomial[place, lane]) % 2**32) * shifted
    return total


@each_modulus
def test_the_two_results_are_shares_of_the_exact_product(modulus):
    key, evaluator, messages, plain, sums = products(60, 3, np.random.default_rng(1), modulus=modulus)
    wanted = np.sort(np.random.default_rng(2).choice(DEGREE, 500, replace=False))
    answers, masks = evaluator.answer(sums, 3, wanted)
    decrypted = key.decrypt(answers, wanted)
    for lane in range(3):
        assert np.array_equal(decrypted[lane] - masks[lane], exact_sum(messages, plain, lane)[wanted])


def phases(key, sums, lane):
    """c_0 + c_1·s of a sum that was not rerandomized, as integers modulo q."""
    rows = []
    values = key._modulus.tables
    for index, prime in enumerate(values):
        total = sums[0, index].copy()
        unused = np.zeros_like(total)
        multiply_add(total, unused, sums[1, index].copy(), key._secret[index], key._secret[index], prime.value)
        prime.inverse(total)
        rows.append(total[:, lane].astype(np.int64))
    q = math.prod(prime.value for prime in values)
    weights = [q // prime.value * pow(q // prime.value, -1, prime.value) for prime in values]
    return centered((sum(int(row[j]) * w for row, w in zip(rows, weights)) for j in range(DEGREE)), q)


@each_modulus
def test_what_is_hidden_stays_below_the_stated_bound(modulus):
    """The largest plaintexts: the phase is the product and its noise over the integers, far inside of the modulus."""
    nonzeros, count = 200, 3
    key, _, _, _, sums = products(nonzeros, count, np.random.default_rng(3), -(2**31), modulus)
    largest = max(abs(value) for value in phases(key, sums, 0))
    assert 2**64 < largest <= noise_bound(nonzeros * count)


@each_modulus
def test_what_is_hidden_deviates_as_stated_where_weights_are_random(modulus):
    """The mean of |X| over random weights and errors is below the bound, and not far below."""
    nonzeros, count = 100, 2
    key, _, _, _, sums = products(nonzeros, count, np.random.default_rng(5), modulus=modulus)
    mean = sum(abs(value) for value in phases(key, sums, 0)) / DEGREE
    assert 0.6 * hidden_deviation(nonzeros * count) < mean < hidden_deviation(nonzeros * count)


def resnet18():
    """The convolutions of the plain-stem ResNet-18 at 32x32, one after the other."""
    b = ProgramBuilder((3, 32, 32), 8)
    x, inputs, size = "image", 3, 32
    for stage, outputs in enumerate((64, 128, 256, 512)):
        for place in range(5 if stage == 0 else 4):
            stride = 2 if stage and place == 0 else 1
            size //= stride
            name = f"conv{stage}.{place}"
            weight = b.constant(f"{name}.w", (outputs, inputs, 3, 3), 8, 100)
            geometry = {"stride": (stride, stride), "padding": (1, 1, 1, 1)}
            x = b.add(ConvOp, name, [x], (outputs, size, size), 16, weight=weight, bias=None, **geometry)
            inputs = outputs
    return b.program()


def test_a_set_of_a_resnets_images_keeps_forty_bits_however_many_they_are():
    program = resnet18()
    most = [images_within(program, STATISTICAL_BITS, modulus) for modulus in MODULI]
    assert most[0] == 4
    for modulus, count in zip(MODULI, most, strict=True):
        assert [statistical_bits(program, images, modulus) for images in (count, count + 1)] == [40, 39]
        assert modulus_for(program, count) == modulus
    assert [modulus_for(program, count + 1) for count in most] == [MEDIUM, LARGE, LARGE]
    assert most[0] * 2**12 <= most[1] < (most[0] + 1) * 2**12
    assert [set_bits(program, images) for images in (1, 100, 10**6)] == [(42, 42), (54, 47), (102, 82)]


def test_statistical_security_is_the_distance_of_all_that_is_returned():
    b = ProgramBuilder((5,), 8)
    b.add(LinearOp, "fc", ["image"], (7,), 16, weight=b.constant("w", (7, 5), 8, 100), bias=None)
    for modulus, bits in ((SMALL, 131), (MEDIUM, 143), (LARGE, 191)):
        distance, found = Fraction(7 * hidden_deviation(5 * 7), 2**bits), statistical_bits(b.program(), 1, modulus)
        assert 2 ** -(found + 1) <= distance < 2**-found


@each_modulus
def test_a_mask_and_what_it_hides_decrypt_after_the_primes_are_dropped(modulus):
    """The largest mask and the largest noise that the bound allows stay inside of the last prime."""
    hidden = noise_bound(1 << 20)
    phase = 2 ** (modulus.mask_bits - 1) + hidden
    # a sum of DEGREE + 1 roundings by at most a half, 2^32 times: beyond this in one of 2^128 (Hoeffding)
    rounding = PLAIN * math.sqrt((DEGREE + 1) / 2 * math.log(2) * 129) * (1 + 2**-20)
    assert phase // math.prod(modulus.values[1:]) + rounding < modulus.values[0] // 2
    assert phase < math.prod(modulus.values) // 2
    # what dropping a prime is given stays where products are exact
    reach = max(modulus.values[0] - last for last in modulus.values[1:])
    assert 1.35 * 2**modulus.prime_bits + 2**31 * reach < 2**51.6


def test_the_decrypting_party_sees_noise():
    """The same products twice: what is decrypted is uniform, independent, and the second part is rerandomized."""
    generator = np.random.default_rng(4)
    key, evaluator, _, _, sums = products(20, 1, generator)
    wanted = np.arange(DEGREE)
    runs = [evaluator.answer(sums.copy(), LANES, wanted)[0] for _ in range(4)]
    seen = np.concatenate([key.decrypt(run, wanted).reshape(-1) for run in runs])
    for words in (seen, seen[: len(seen) // 2] - seen[len(seen) // 2 :]):
        counts = np.bincount(words.view(np.uint8), minlength=256)
        expected = counts.sum() / 256
        assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 6 * np.sqrt(510)
    prime = SMALL.values[0]
    seconds = [unpack_residues(run[:, : SMALL.residue_octets(DEGREE)], prime, DEGREE) for run in runs]
    difference = centered((seconds[0] - seconds[1]).reshape(-1), prime)
    assert np.abs(np.array(difference, float)).mean() == pytest.approx(prime / 4, rel=0.02)


@each_modulus
def test_masks_cover_their_interval(modulus):
    bits = modulus.mask_bits
    limbs = Sampler.fresh().masks(1 << 14, bits)
    values = sum(limb.astype(object) * 2 ** (48 * place) for place, limb in enumerate(limbs))
    assert max(values) < 2**bits
    top = np.array([int(value >> (bits - 8)) for value in values])
    counts = np.bincount(top, minlength=256)
    assert abs(((counts - 64.0) ** 2 / 64).sum() - 255) < 6 * np.sqrt(510)


def test_words_that_are_no_residues_are_drawn_again(monkeypatch):
    prime = PRIMES[48][0]
    words = iter([[5, prime, 2**48 - 1, prime - 1 + 2**60], [prime + 3, 7], [prime // 2]])
    sampler = Sampler.fresh()
    monkeypatch.setattr(sampler, "_words", lambda count: np.array(next(words), np.uint64))
    assert sampler.uniform(prime, 4).tolist() == [5, prime // 2, 7, -1]
