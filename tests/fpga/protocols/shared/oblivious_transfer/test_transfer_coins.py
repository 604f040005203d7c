"""The coins of oblivious transfers are fresh: in every run, for every transfer, and of full entropy."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.hash_numbers import assert_numbers_run_on, recorded_numbers
from helpers.statistics import LIMIT, assert_full_entropy, largest_bias, largest_correlation

from rrnet_nni.fpga.protocols.shared.bit_planes import plane_bytes
from rrnet_nni.fpga.protocols.shared.oblivious_transfer import base_ot
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.carries import share_carries
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.extension import OtReceiver, OtSender
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.punctured_seeds import (
    BLOCKS,
    LEAVES,
    choose_leaves,
    own_trees,
)
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.transfers import Transfers
from rrnet_nni.fpga.runtime.link.link import Link

SESSION = bytes(16)


class Recorded(Link):
    """A link that keeps what it sent."""

    def __init__(self, connection, peer):
        super().__init__(connection, peer, 30)
        self.sent = []

    def exchange(self, outgoing, incoming_bytes):
        if outgoing is not None:
            self.sent.append(np.ascontiguousarray(outgoing).tobytes())
        return super().exchange(outgoing, incoming_bytes)


def both(first, second):
    """Two parties' functions of a channel run against each other: (result, what was sent) of each."""
    ends = socket.socketpair()

    def run(number, function):
        with Recorded(ends[number], f"party {1 - number}") as link:
            return function(link), b"".join(link.sent)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run, number, function) for number, function in enumerate((first, second))]
        return [future.result() for future in futures]


def test_scalars_have_full_entropy_modulo_the_order_of_the_group():
    """The order is little more than 2^252, so that the low 31 octets are uniform."""
    assert_full_entropy([base_ot._scalar()[:31] for _ in range(8 * 31 + 80)], 31)


def test_every_point_of_two_runs_of_base_transfers_differs():
    runs = [
        both(lambda link: base_ot.send_base_ots(link, 64), lambda link: base_ot.receive_base_ots(link, [0, 1] * 32))
        for _ in range(2)
    ]
    points = [sent[start : start + 32] for run in runs for _, sent in run for start in range(0, len(sent), 32)]
    assert len(points) == 2 * (64 + 1)
    assert len(set(points)) == len(points)


@pytest.fixture(scope="module")
def trees():
    """Four runs of both sides: all leaves, the secret places, and what both sent."""
    return [both(own_trees, choose_leaves) for _ in range(4)]


def test_the_senders_secret_is_fresh_and_uniform_in_every_run(trees):
    secrets = np.stack([chosen[0] for _, (chosen, _) in trees])
    assert len({row.tobytes() for row in secrets}) == len(secrets)
    for first in range(len(secrets)):
        for second in range(first):
            assert (secrets[first] == secrets[second]).sum() < BLOCKS // 2  # two of 32 agree by chance
    counts = np.bincount(secrets.reshape(-1), minlength=LEAVES)
    expected = secrets.size / LEAVES
    assert ((counts - expected) ** 2 / expected).sum() < 15 + LIMIT * np.sqrt(30)


def test_every_leaf_of_every_tree_of_every_run_differs(trees):
    leaves = {leaf.tobytes() for (owned, _), _ in trees for leaf in owned.reshape(-1, 16)}
    assert len(leaves) == len(trees) * BLOCKS * LEAVES


def test_nothing_that_starts_an_extension_is_said_twice(trees):
    said = [sent[start : start + 16] for sides in trees for _, sent in sides for start in range(0, len(sent), 16)]
    assert len(set(said)) == len(said)


class Pair:
    """Two parties with running extensions."""

    def __init__(self):
        self.links = [Link(end, "the other party", 30) for end in socket.socketpair()]
        self.pool = ThreadPoolExecutor(2)
        self.transfers = self.both(lambda number: Transfers(number, self.links[number], SESSION))

    def both(self, function):
        return [future.result() for future in [self.pool.submit(function, number) for number in (0, 1)]]


@pytest.fixture(scope="module")
def pair():
    return Pair()


@pytest.mark.parametrize("word", [0, 2**32 - 1])
def test_each_partys_shares_of_carries_are_balanced_fresh_and_independent_of_each_other(pair, word):
    """The carries of fixed words are fixed; what either party holds of them tells nothing."""
    elements, cuts = 16_384, (8, 16, 31)
    words = np.full((1, elements), word, np.uint32)
    runs = [pair.both(lambda number: share_carries(pair.transfers[number], words, cuts)) for _ in range(2)]
    for number in (0, 1):
        planes = [run[number][cut][0] for run in runs for cut in cuts]
        assert all(len(plane) == plane_bytes(elements) for plane in planes)
        bits = np.unpackbits(np.stack(planes), axis=1)
        assert largest_bias(bits)[0] < LIMIT
        assert largest_correlation(bits)[0] < LIMIT
    for cut in cuts:
        carry = np.unpackbits(runs[0][0][cut] ^ runs[0][1][cut])
        assert (carry == (word != 0)).all()


def test_private_octets_have_full_entropy(pair):
    for transfers in pair.transfers:
        assert_full_entropy([transfers.private_octets(16).tobytes() for _ in range(220)], 16)


def test_no_transfer_is_hashed_under_another_ones_number():
    """Numbers run on over chunks, calls and widths, at both ends alike."""
    sides = both(lambda link: OtReceiver(link, SESSION), lambda link: OtSender(link, SESSION))
    receiver, sender = (side for side, _ in sides)
    received, sent = recorded_numbers(receiver), recorded_numbers(sender)
    for octets, words in ((3, 1), (1 << 14, 1), (5, 4)):
        messages = []
        receiver.extend(np.zeros(octets, np.uint8), messages.append, words)
        remaining = iter(messages)
        sender.extend(octets, lambda size, remaining=remaining: next(remaining).reshape(-1)[:size], words)
    for numbers, shifted in ((received, False), (sent, False), (sent, True)):
        assert_numbers_run_on(numbers, shifted)
