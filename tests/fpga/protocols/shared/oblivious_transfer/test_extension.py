"""Base transfers and their extension: every transfer is right, no row repeats, and the sender's secret stays hidden."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from nacl import bindings

from rrnet_nni.base.errors import ExecutionFault
from rrnet_nni.fpga.native.library import address
from rrnet_nni.fpga.protocols.shared.oblivious_transfer import extension as ot_extension
from rrnet_nni.fpga.protocols.shared.oblivious_transfer import streams
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.base_ot import receive_base_ots, send_base_ots
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.extension import (
    CHUNK_OCTETS,
    OtReceiver,
    OtSender,
    extension_bytes,
)
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.punctured_seeds import (
    BLOCKS,
    DEPTH,
    LEAVES,
    choose_leaves,
    own_trees,
)
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.streams import (
    CompiledHash,
    CompiledStreams,
    LibraryHash,
    LibraryStreams,
    transpose,
)
from rrnet_nni.fpga.runtime.link.link import Link

SESSION = bytes(range(16))


def both(first, second):
    """Run two parties' functions of a channel against each other."""
    ends = socket.socketpair()

    def run(number, function):
        with Link(ends[number], f"party {1 - number}", 30) as link:
            return function(link)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run, number, function) for number, function in enumerate((first, second))]
        return [future.result() for future in futures]


@pytest.fixture(scope="module")
def ends():
    return both(lambda link: OtReceiver(link, SESSION), lambda link: OtSender(link, SESSION))


needs_aes = pytest.mark.skipif(not streams._kernels().ot_accelerated(), reason="no AES instructions here")


@needs_aes
def test_compiled_streams_are_those_of_the_library_fold_after_fold():
    generator = np.random.default_rng(3)
    leaves = generator.integers(0, 256, (BLOCKS, LEAVES, 16), np.uint8)
    leaves[5, 0] = 0
    compiled, library = CompiledStreams(leaves), LibraryStreams(leaves)
    for octets in (16, 48, 4096, 32):
        ours, theirs = (np.empty((BLOCKS, DEPTH, octets), np.uint8) for _ in range(2))
        assert np.array_equal(compiled.fold(ours), library.fold(theirs))
        assert np.array_equal(ours, theirs)


@needs_aes
@pytest.mark.parametrize(("count", "words"), [(1, 1), (8, 4), (1003, 1), (1003, 3)])
def test_the_compiled_hash_is_that_of_the_library(count, words):
    generator = np.random.default_rng(count)
    rows, offset = generator.integers(0, 2**64, (count, 2), np.uint64), generator.integers(0, 2**64, 2, np.uint64)
    pads = [kind(SESSION).pads(rows, 2**33 + 7, offset, words) for kind in (CompiledHash, LibraryHash)]
    assert np.array_equal(*pads)
    block = algorithms.AES(SESSION)
    first = (rows[0] ^ offset ^ np.array([2**33 + 7, 0], np.uint64)).tobytes()
    expected = Cipher(block, modes.ECB()).encryptor().update(first)
    assert pads[0][0].tobytes() == bytes(a ^ b for a, b in zip(expected, first))[: 4 * words]


@pytest.mark.parametrize("octets", [16, 64, 1024])
def test_rows_are_the_transposed_columns(octets):
    columns = np.random.default_rng(octets).integers(0, 256, (128, octets), np.uint8)
    rows = transpose(columns)
    bits = np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(bits, np.unpackbits(columns, axis=1).T)
    portable = np.empty_like(rows)
    streams._kernels().bit_rows_portable(address(columns), octets, address(portable))
    assert np.array_equal(portable, rows)


def test_two_parties_of_which_one_has_no_aes_instructions_understand_each_other(monkeypatch):
    real = ot_extension.expand_streams
    monkeypatch.setattr(
        ot_extension,
        "expand_streams",
        lambda leaves, places=None: LibraryStreams(leaves) if places is None else real(leaves, places),
    )
    receiver, sender = both(lambda link: OtReceiver(link, SESSION), lambda link: OtSender(link, SESSION))
    assert isinstance(receiver._streams, LibraryStreams)
    for octets in (3, CHUNK_OCTETS + 5, 40):
        check_transfers(receiver, sender, octets, np.random.default_rng(octets))


def test_a_base_transfer_gives_the_chosen_key_and_not_the_other():
    choices = [index % 3 % 2 for index in range(128)]
    keys, chosen = both(lambda link: send_base_ots(link, 128), lambda link: receive_base_ots(link, choices))
    assert all((keys[index, choice] == chosen[index]).all() for index, choice in enumerate(choices))
    assert not any((keys[index, 1 - choice] == chosen[index]).all() for index, choice in enumerate(choices))
    assert len({key.tobytes() for key in keys.reshape(-1, 16)}) == 256


@pytest.mark.parametrize(
    "point", [bytes(32), bytes([1, *bytes(31)]), b"\xff" * 32], ids=["order 4", "identity", "none"]
)
def test_a_point_outside_of_the_group_is_refused(point):
    def cheat(link):
        link.exchange(np.frombuffer(point, np.uint8), 0)

    with pytest.raises(ExecutionFault, match="point"):
        both(cheat, lambda link: receive_base_ots(link, [0, 1]))


def test_points_on_the_link_are_of_the_prime_order_group():
    seen = []

    def watch(link):
        public = link.exchange(None, 32).tobytes()
        seen.append(public)
        link.exchange(np.frombuffer(bindings.crypto_scalarmult_ed25519_base_noclamp(b"\x07" + bytes(31)), np.uint8), 0)

    both(lambda link: send_base_ots(link, 1), watch)
    assert bindings.crypto_core_ed25519_is_valid_point(seen[0])


def test_the_chooser_knows_all_leaves_but_its_own():
    trees, (secret, leaves) = both(own_trees, choose_leaves)
    known = np.arange(LEAVES) != secret[:, None]
    assert (trees[known] == leaves[known]).all()
    assert not leaves[np.arange(BLOCKS), secret].any()
    assert len(np.unique(trees.reshape(-1, 16), axis=0)) == BLOCKS * LEAVES


def check_transfers(receiver, sender, octets, generator):
    """Correctness of every transfer, and the correlation of every row."""
    choices = generator.integers(0, 256, octets, np.uint8)
    messages = []
    chosen = receiver.extend(choices, messages.append)[:, 0]
    assert sum(message.nbytes for message in messages) == extension_bytes(octets)
    remaining = iter(messages)
    first, second = (pads[:, 0] for pads in sender.extend(octets, lambda size: next(remaining).reshape(-1)[:size]))
    bits = np.unpackbits(choices).astype(bool)
    assert np.array_equal(chosen, np.where(bits, second, first))
    return chosen, np.where(bits, first, second)


def test_two_to_the_twentieth_transfers_are_right_and_their_pads_are_noise(ends):
    receiver, sender = ends
    chosen, other = check_transfers(receiver, sender, 1 << 17, np.random.default_rng(0))
    assert chosen.size == 1 << 20
    for pads in (chosen, other, chosen ^ other):
        counts = np.bincount(pads.view(np.uint8), minlength=256)
        expected = counts.sum() / 256
        assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 6 * np.sqrt(510)


def hashed(rows, subsets):
    """A universal linear hash over GF(2): the sum of the rows of each random subset, uint64 [subsets, 2]."""
    return np.stack([np.bitwise_xor.reduce(rows[subset], axis=0) for subset in subsets])


def consistent(rows, bits, correlated, offset, subsets):
    """The consistency check of SoftSpokenOT (and of KOS15): hash(w) = hash(v) ⊕ hash(c)·Δ."""
    chosen = hashed(bits, subsets)
    return np.array_equal(hashed(correlated, subsets), hashed(rows, subsets) ^ (chosen * offset))


def test_two_to_the_twentieth_rows_pass_the_consistency_check_and_never_repeat(ends):
    receiver, sender = ends
    generator = np.random.default_rng(1)
    rows, bits, correlated = [], [], []
    for _ in range((1 << 17) // CHUNK_OCTETS):
        choices = generator.integers(0, 256, CHUNK_OCTETS, np.uint8)
        message, own = receiver.rows(choices)
        rows.append(own)
        bits.append(np.unpackbits(choices)[:, None].astype(np.uint64))
        correlated.append(sender.rows(message))
    rows, bits, correlated = (np.concatenate(parts) for parts in (rows, bits, correlated))
    assert len(rows) == 1 << 20
    assert np.array_equal(correlated, rows ^ (bits * sender.offset))
    subsets = generator.integers(0, 2, (16, len(rows))).astype(bool)
    assert consistent(rows, bits, correlated, sender.offset, subsets)
    assert len(np.unique(rows[:, 0])) == len(rows)
    assert 32 < sum(int(word).bit_count() for word in sender.offset) < 96


def test_the_consistency_check_finds_a_receiver_that_changes_one_choice_in_one_block(ends):
    receiver, sender = ends
    generator = np.random.default_rng(2)
    choices = generator.integers(0, 256, CHUNK_OCTETS, np.uint8)
    subsets = generator.integers(0, 2, (16, 8 * CHUNK_OCTETS)).astype(bool)
    caught = 0
    blocks = range(0, BLOCKS, 2)
    for block in blocks:
        message, rows = receiver.rows(choices)
        message[block, 77] ^= 0x20
        bits = np.unpackbits(choices)[:, None].astype(np.uint64)
        caught += not consistent(rows, bits, sender.rows(message), sender.offset, subsets)
    assert caught >= len(blocks) - 8  # a block in which Δ is zero, one of sixteen, shows nothing


@pytest.mark.parametrize("octets", [1, 7, 9, CHUNK_OCTETS + 3])
def test_any_number_of_transfers_is_right(ends, octets):
    check_transfers(*ends, octets, np.random.default_rng(octets))


def test_the_message_hides_the_choices(ends):
    """Equal choices, twice: the messages are independent noise."""
    receiver, sender = ends
    messages = []
    for _ in range(2):
        message, _ = receiver.rows(np.zeros(1 << 12, np.uint8))
        sender.rows(message)
        messages.append(message.reshape(-1))
    for octets in (messages[0], messages[0] ^ messages[1]):
        counts = np.bincount(octets, minlength=256)
        expected = counts.sum() / 256
        assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 6 * np.sqrt(510)
