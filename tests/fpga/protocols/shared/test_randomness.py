"""Keys have their whole entropy, and no two uses share one."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from helpers.statistics import assert_full_entropy

from rrnet_nni.fpga.protocols.shared import randomness
from rrnet_nni.fpga.protocols.shared.randomness import (
    KEY_BYTES,
    SEED_BYTES,
    Keystream,
    derive,
    fresh_bytes,
)
from rrnet_nni.fpga.runtime.material.key_chain import LINK_BYTES, KnownKeys, PartyKeys

SAMPLES = 8 * 32 + 80


@pytest.mark.parametrize("count", [KEY_BYTES, SEED_BYTES, LINK_BYTES])
def test_fresh_octets_have_full_entropy(count):
    assert_full_entropy([fresh_bytes(count) for _ in range(SAMPLES)], count)


def test_keys_of_inferences_have_full_entropy_over_sets_and_over_indexes():
    chains = [PartyKeys.fresh() for _ in range(SAMPLES)]
    for keys in (
        [chain.inferences(8)[0][7] for chain in chains],
        chains[0].inferences(SAMPLES)[0],
        [chain.inferences(3)[1].link for chain in chains],
    ):
        assert_full_entropy(keys, len(keys[0]))
    assert_full_entropy([PartyKeys.fresh().octets for _ in range(8 * PartyKeys.SIZE + 80)], PartyKeys.SIZE)


def test_every_octet_of_a_link_decides_its_key_and_the_next_link():
    weights, link = fresh_bytes(KEY_BYTES), fresh_bytes(LINK_BYTES)
    changed = [link[:place] + bytes([link[place] ^ 1]) + link[place + 1 :] for place in range(LINK_BYTES)]
    made = [PartyKeys(weights, each).inferences(1) for each in (link, *changed)]
    assert len({keys[0] for keys, _ in made}) == LINK_BYTES + 1
    assert len({following.link for _, following in made}) == LINK_BYTES + 1


class CountingHkdf:
    """The library's interface; what would be derived is a hash of everything that decides it."""

    def __init__(self, algorithm, length, salt, info):
        self._length, self._decides = length, b"%d %b %b" % (length, salt or b"", info)

    def derive(self, secret):
        return hashlib.blake2b(secret + self._decides, digest_size=self._length).digest()


def test_no_two_of_a_million_inferences_share_a_key(monkeypatch):
    monkeypatch.setattr(randomness, "HKDF", CountingHkdf)
    chain = PartyKeys.fresh()
    keys, _ = chain.inferences(10**6)
    assert len({*keys, chain.weights}) == 10**6 + 1


def test_ten_thousand_keys_of_the_library_differ_and_do_not_depend_on_where_the_chain_is_cut():
    chain = PartyKeys.fresh()
    keys, _ = chain.inferences(10_000)
    assert len(set(keys)) == 10_000
    first, following = chain.inferences(1234)
    assert first + following.inferences(10_000 - 1234)[0] == keys
    known = KnownKeys(chain)
    assert [known.keys(part) for part in (range(5, 9), range(0, 3), range(2, 20))] == [keys[5:9], keys[:3], keys[2:20]]
    assert len(derive(chain.link, "label")) == KEY_BYTES


def test_operations_under_one_key_have_streams_of_their_own():
    key = fresh_bytes(KEY_BYTES)
    blocks = [Keystream([key], operation).octets(64).tobytes() for operation in (*range(5_000), 2**32, 2**40 + 1)]
    assert len({octets[start : start + 16] for octets in blocks for start in range(0, 64, 16)}) == 4 * len(blocks)


def test_streams_of_any_length_are_the_ciphers():
    """Draws follow each other, whether or not their zeros are kept."""
    key, nonce = bytes(range(KEY_BYTES)), (7).to_bytes(8, "big") + bytes(8)
    stream, plain = Keystream([key], 7), Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()
    for count in (0, 1, 5, 4096, randomness._MOST_KEPT, randomness._MOST_KEPT + 1, 3):
        assert stream.octets(count).tobytes() == plain.update(bytes(count))
