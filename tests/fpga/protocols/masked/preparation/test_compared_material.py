"""Products of the masks that join a comparison's leaves, made by two parties: a dealer's, octet for octet."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rrnet_nni.fpga.protocols.masked.costs import and_levels, compared_digits, onehot_planes
from rrnet_nni.fpga.protocols.masked.preparation.compared_material import (
    compared_stages,
    receive_compared,
    send_compared,
)
from rrnet_nni.fpga.protocols.material import CorrectionWriter
from rrnet_nni.fpga.protocols.shared import and_chain, and_tree
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.chain_material import ChainReceiver, ChainSender, chain_stages
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.transfers import Transfers
from rrnet_nni.fpga.protocols.shared.randomness import Keystream, fresh_bytes
from rrnet_nni.fpga.runtime.link.link import Link

IMAGES, OCTETS = 2, 9


def made(width):
    """Party 1's products as a dealer makes them, and as two parties do; what party 1 got of the one-hot words."""
    digits, levels = compared_digits(width), and_levels(width)
    keys = [[fresh_bytes(16) for _ in range(IMAGES)] for _ in range(2)]
    writer = CorrectionWriter(IMAGES)
    deal = and_chain.deal_chain if digits <= and_chain.MOST_DIGITS else and_tree.deal_bit_triples
    deal(OCTETS, tuple(Keystream(each, 0) for each in keys), writer, digits)
    onehot = Keystream(keys[0], 1).planes(onehot_planes(width), OCTETS)
    ends = socket.socketpair()

    def party(number):
        source, masks, gates = Keystream(keys[number], 0), [], []
        for opened, products in levels:
            masks.append(source.planes(opened, OCTETS))
            if number == 0:
                gates.append(source.planes(products, OCTETS))
        with Link(ends[number], "the other party", 30) as link:
            transfers = Transfers(number, link, bytes(16))
            sent = link.counters.bytes_sent
            if number == 0:
                send_compared(transfers, width, onehot, masks, gates)
                planes = sum(count for _, count in compared_stages(width))
                assert link.counters.bytes_sent - sent == planes * IMAGES * OCTETS
                return None
            return receive_compared(transfers, width, masks)

    with ThreadPoolExecutor(2) as pool:
        _, (words, products) = [each.result(timeout=60) for each in [pool.submit(party, n) for n in (0, 1)]]
    together = CorrectionWriter(IMAGES)
    for part in products:
        together.put(part)
    assert np.array_equal(words, onehot)
    return writer.buffers(), together.buffers()


@pytest.mark.parametrize("width", [8, 12, 16, 20, 32])
def test_two_parties_make_what_a_dealer_deals(width):
    dealt, shared = made(width)
    assert all(np.array_equal(*pair) for pair in zip(dealt, shared, strict=True))


def test_a_message_with_a_wrong_plane_is_noticed(monkeypatch):
    right = ChainSender.stage

    def wrong(self, stage, pads):
        first, *others = right(self, stage, pads)
        return [first ^ np.uint8(1), *others]

    monkeypatch.setattr(ChainSender, "stage", wrong)
    dealt, shared = made(16)
    assert not all(np.array_equal(*pair) for pair in zip(dealt, shared, strict=True))


def test_every_bit_that_chooses_is_a_masks_or_a_shorter_products():
    for digits in (2, 3, 4):
        stages = chain_stages(digits)
        assert [len(stage) for stage in stages] == {2: [2], 3: [4, 1], 4: [6, 3, 1]}[digits]
        for size, stage in enumerate(stages, 1):
            assert {len(choice.place) for choice in stage} == {size}
    assert ChainReceiver(4, np.zeros((1, 6, 1), np.uint8)).choices(0).shape == (1, 6, 1)
