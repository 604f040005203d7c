"""Keys have their whole entropy, and no two uses share one."""

import hashlib

import pytest
from helpers.statistics import assert_full_entropy

from rrnet_nni.fpga.protocols.shared import randomness
from rrnet_nni.fpga.protocols.shared.randomness import (
    KEY_BYTES,
    ROOT_BYTES,
    SEED_BYTES,
    Keystream,
    derive_key,
    fresh_bytes,
)
from rrnet_nni.fpga.runtime.material.store import image_key, weight_key

SAMPLES = 8 * 32 + 80


@pytest.mark.parametrize("count", [KEY_BYTES, SEED_BYTES, ROOT_BYTES])
def test_fresh_octets_have_full_entropy(count):
    assert_full_entropy([fresh_bytes(count) for _ in range(SAMPLES)], count)


def test_keys_of_inferences_and_of_weights_have_full_entropy_over_roots_and_over_indexes():
    roots = [fresh_bytes(ROOT_BYTES) for _ in range(SAMPLES)]
    for keys in (
        [image_key(root, 7) for root in roots],
        [weight_key(root) for root in roots],
        [image_key(roots[0], index) for index in range(SAMPLES)],
    ):
        assert_full_entropy(keys, KEY_BYTES)


def test_every_octet_of_a_root_decides_its_keys():
    root = fresh_bytes(ROOT_BYTES)
    changed = [root[:place] + bytes([root[place] ^ 1]) + root[place + 1 :] for place in range(ROOT_BYTES)]
    assert len({image_key(each, 0) for each in (root, *changed)}) == ROOT_BYTES + 1


class CountingHkdf:
    """The library's interface; what would be derived is a hash of everything that decides it."""

    def __init__(self, algorithm, length, salt, info):
        self._length, self._decides = length, b"%d %b %b" % (length, salt or b"", info)

    def derive(self, root):
        return hashlib.blake2b(root + self._decides, digest_size=self._length).digest()


def test_no_two_of_a_million_inferences_share_a_key(monkeypatch):
    monkeypatch.setattr(randomness, "HKDF", CountingHkdf)
    root = fresh_bytes(ROOT_BYTES)
    keys = {image_key(root, index) for index in range(10**6)}
    keys |= {image_key(root, 2**power) for power in range(20, 70)}
    assert len(keys | {weight_key(root)}) == 10**6 + 50 + 1


def test_ten_thousand_keys_of_the_library_differ():
    root = fresh_bytes(ROOT_BYTES)
    assert len({image_key(root, index) for index in range(10_000)}) == 10_000
    assert len(derive_key(root, "label")) == KEY_BYTES


def test_operations_under_one_key_have_streams_of_their_own():
    key = fresh_bytes(KEY_BYTES)
    blocks = [Keystream([key], operation).octets(64).tobytes() for operation in (*range(5_000), 2**32, 2**40 + 1)]
    assert len({octets[start : start + 16] for octets in blocks for start in range(0, 64, 16)}) == 4 * len(blocks)
