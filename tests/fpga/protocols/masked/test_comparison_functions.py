"""Distributed comparison functions compare, their keys hide the threshold, and their AES is the published one."""

import numpy as np
import pytest
from helpers.statistics import assert_full_entropy
from helpers.tapped_sessions import network
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.native.library import CompilationUnavailable
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.protocols.masked.comparison_functions import (
    CompiledDcf,
    LibraryDcf,
    agrees_with_library,
    encrypt_blocks,
    functions,
    hash_keys,
)
from rrnet_nni.fpga.protocols.shared.randomness import fresh_bytes
from rrnet_nni.fpga.runtime.material.dealer import DealerSeeds, deal_for_both
from rrnet_nni.fpga.runtime.material.key_chain import PartyKeys
from rrnet_nni.fpga.runtime.session.conformance import first_divergence


def backends():
    try:
        return [LibraryDcf(), CompiledDcf()]
    except CompilationUnavailable:
        return [LibraryDcf()]


each_backend = pytest.mark.parametrize("dcf", backends(), ids=lambda backend: backend.name)


def random_roots(generator, count):
    zero, one = (generator.integers(0, 2**64, (count, 2), dtype=np.uint64) for _ in range(2))
    zero[:, 0] &= np.uint64(2**64 - 2)
    one[:, 0] |= np.uint64(1)
    return zero, one


def compare(dcf, points, thresholds, generator):
    roots = random_roots(generator, len(points))
    keys = hash_keys(generator.bytes(16))
    corrections = dcf.generate(thresholds, roots, keys)
    return dcf.evaluate(points, roots[0], corrections, keys) ^ dcf.evaluate(points, roots[1], corrections, keys)


@each_backend
@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_the_shares_say_whether_the_point_is_less(dcf, pairs):
    points, thresholds = np.array(pairs, np.uint32).T.copy()
    assert np.array_equal(compare(dcf, points, thresholds, np.random.default_rng(0)), points < thresholds)


@each_backend
def test_neighbours_of_every_power_of_two_are_told_apart(dcf):
    corners = sorted({max(0, 2**bit + step) for bit in range(31) for step in (-1, 0, 1)} | {0, 2**31 - 1})
    points, thresholds = (grid.ravel().astype(np.uint32) for grid in np.meshgrid(corners, corners))
    assert np.array_equal(compare(dcf, points, thresholds, np.random.default_rng(1)), points < thresholds)


@each_backend
def test_the_top_bit_of_a_word_does_not_count(dcf):
    generator = np.random.default_rng(2)
    points, thresholds = (generator.integers(0, 2**32, 64, dtype=np.uint32) for _ in range(2))
    low = np.uint32(2**31 - 1)
    assert np.array_equal(compare(dcf, points, thresholds, generator), (points & low) < (thresholds & low))


@each_backend
def test_one_keys_share_and_the_corrections_look_the_same_for_every_threshold(dcf):
    """Chi-square of the correction words' octets, and balance of one key's shares, for two fixed thresholds."""
    generator, count = np.random.default_rng(3), 4096
    for threshold in (0, 2**31 - 1):
        roots = random_roots(generator, count)
        keys = hash_keys(generator.bytes(16))
        corrections = dcf.generate(np.full(count, threshold, np.uint32), roots, keys)
        octets = np.bincount(corrections.view(np.uint8).ravel(), minlength=256)
        expected = octets.sum() / 256
        assert abs(((octets - expected) ** 2 / expected).sum() - 255) / np.sqrt(510) < 6
        for root in roots:
            ones = dcf.evaluate(np.full(count, 12345, np.uint32), root, corrections, keys).sum(dtype=np.int64)
            assert abs(ones - count / 2) < 6 * np.sqrt(count / 4)


#: FIPS-197, appendices B and C.1: key, plaintext, ciphertext.
VECTORS = [
    ("2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"),
    ("000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
]


@pytest.mark.parametrize(("key", "plain", "sealed"), VECTORS)
def test_the_cipher_is_the_published_one(key, plain, sealed):
    blocks = np.frombuffer(bytes.fromhex(plain) * 8, np.uint64).reshape(8, 2)
    expected = np.frombuffer(bytes.fromhex(sealed) * 8, np.uint64).reshape(8, 2)
    assert np.array_equal(encrypt_blocks(blocks, bytes.fromhex(key)), expected)
    for dcf in backends()[1:]:
        assert np.array_equal(dcf.encrypt(blocks, bytes.fromhex(key)), expected)


def test_a_backend_that_computes_something_else_is_passed_over():
    class Wrong(LibraryDcf):
        def evaluate(self, *arguments):
            return super().evaluate(*arguments) ^ np.uint8(1)

    assert all(agrees_with_library(dcf) for dcf in backends())
    assert not agrees_with_library(Wrong())


def test_the_environment_can_ask_for_the_library(monkeypatch):
    monkeypatch.setenv("RRNET_RING_BACKEND", "limbs")
    assert functions.__wrapped__().name == "cryptography"


@each_backend
def test_a_function_is_another_one_under_other_keys_of_its_hash(dcf):
    generator = np.random.default_rng(4)
    points, thresholds = (generator.integers(0, 2**31, 64, dtype=np.uint32) for _ in range(2))
    roots = random_roots(generator, 64)
    tree, leaf = hash_keys(b"one")
    made = [dcf.generate(thresholds, roots, keys) for keys in ((tree, leaf), hash_keys(b"other"), (tree, bytes(16)))]
    assert (made[0] != made[1]).all()
    assert np.array_equal(made[0][:-1], made[2][:-1])
    assert (made[0][-1] != made[2][-1]).all()
    shares = [dcf.evaluate(points, root, made[0], (tree, leaf)) for root in roots]
    assert np.array_equal(shares[0] ^ shares[1], points < thresholds)


def test_every_set_has_keys_of_its_own_for_tree_and_leaves_and_both_parties_have_them():
    """Correction words of two sets with the same roots and masks have nothing in common, and each set is evaluated."""
    program, weights = network()
    parties = PartyKeys.fresh(), PartyKeys.fresh()
    sets = [DealerSeeds(parties, fresh_bytes(16)) for _ in range(2)]
    execution = get_execution("masked-dcf")
    dealt = [deal_for_both(execution.dealer(program, each.weight_masks), each, range(1))[0][0] for each in sets]
    compared = [index for index, parts in enumerate(dealt[0]) if len(parts)]
    assert compared
    for index in compared:
        blocks = [set(map(bytes, parts[index].reshape(-1, 16))) for parts in dealt]
        assert not blocks[0] & blocks[1]
    images = np.random.default_rng(0).normal(size=(1, 2, 8, 8))
    assert first_divergence(program, weights, images, execution) is None  # each party derives the same


def test_keys_of_the_hash_have_full_entropy_and_differ_in_use():
    pairs = [hash_keys(fresh_bytes(16)) for _ in range(8 * 32 + 80)]
    assert_full_entropy([tree + leaf for tree, leaf in pairs], 32)


def test_a_set_without_a_number_has_no_keys_that_all_sets_would_share():
    with pytest.raises(ValueError, match="the number of their set"):
        hash_keys(b"")
