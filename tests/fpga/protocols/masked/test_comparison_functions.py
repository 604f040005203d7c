"""Distributed comparison functions compare, their keys hide the threshold, and their AES is the published one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.native.library import CompilationUnavailable
from rrnet_nni.fpga.protocols.masked.comparison_functions import (
    CompiledDcf,
    LibraryDcf,
    agrees_with_library,
    encrypt_blocks,
    functions,
)


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
    corrections = dcf.generate(thresholds, roots)
    return dcf.evaluate(points, roots[0], corrections) ^ dcf.evaluate(points, roots[1], corrections)


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
        corrections = dcf.generate(np.full(count, threshold, np.uint32), roots)
        octets = np.bincount(corrections.view(np.uint8).ravel(), minlength=256)
        expected = octets.sum() / 256
        assert abs(((octets - expected) ** 2 / expected).sum() - 255) / np.sqrt(510) < 6
        for root in roots:
            ones = dcf.evaluate(np.full(count, 12345, np.uint32), root, corrections).sum(dtype=np.int64)
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
