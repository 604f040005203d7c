"""The comparison by one-hot words on the whole ring of every width: result, rounds, openings and dealt products."""

import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.protocols.masked import kernels as masked_kernels
from rrnet_nni.fpga.protocols.masked.costs import and_levels, onehot_planes
from rrnet_nni.fpga.protocols.masked.onehot import OneHotComparison
from rrnet_nni.fpga.protocols.material import Corrections, CorrectionWriter
from rrnet_nni.fpga.protocols.shared import and_chain
from rrnet_nni.fpga.protocols.shared.and_chain import MOST_DIGITS, chain_opened, chain_products, chain_terms
from rrnet_nni.fpga.protocols.shared.and_tree import and_tree
from rrnet_nni.fpga.protocols.shared.bit_planes import plane_bytes, plane_words
from rrnet_nni.fpga.protocols.shared.randomness import Keystream, fresh_bytes

WIDTHS = (8, 12, 16, 20, 24, 28, 32)


class Pipe:
    """Two ends of a channel in one process; what each end sent."""

    def __init__(self):
        self._queues = queue.Queue(), queue.Queue()
        self.sent = [], []

    def end(self, number):
        pipe = self

        class End:
            def exchange(self, outgoing, incoming_bytes):
                pipe.sent[number].append(outgoing.copy())
                pipe._queues[1 - number].put(outgoing.copy())
                received = pipe._queues[number].get(timeout=20).reshape(-1)
                assert received.nbytes == incoming_bytes
                return received

        return End()


def compare(opened, mask, width, change=None):
    """[low(opened) < low(mask)] as both parties' shares say, and what they sent; `change` is done to what is dealt."""
    comparison, (images, elements) = OneHotComparison(), mask.shape
    keys = [[fresh_bytes(16) for _ in range(images)] for _ in range(2)]
    writer = CorrectionWriter(images)
    comparison.deal(mask, tuple(Keystream(each, 0) for each in keys), writer, width)
    dealt = [buffer.copy() for buffer in writer.buffers()]
    planes = onehot_planes(width) + sum(products for _, products in and_levels(width))
    assert {len(buffer) for buffer in dealt} == {planes * plane_bytes(elements)}
    if change is not None:
        change(dealt)
    pipe = Pipe()

    def party(number):
        material, _ = comparison.draw(number, elements, Keystream(keys[number], 0), Corrections(dealt), width)
        return comparison.less(number, pipe.end(number), opened, material, width)

    with ThreadPoolExecutor(2) as pool:
        shares = [each.result(timeout=60) for each in [pool.submit(party, number) for number in (0, 1)]]
    return plane_words(shares[0] ^ shares[1], elements), pipe.sent


def expected(opened, mask, width):
    low = np.uint32(2 ** (width - 1) - 1)
    return ((opened & low) < (mask & low)).astype(np.uint32)


def test_every_pair_of_a_small_ring_is_compared():
    values = np.arange(128, dtype=np.uint32)
    opened, mask = np.repeat(values, 128)[None], np.tile(values, 128)[None]
    assert np.array_equal(compare(opened, mask, 8)[0], expected(opened, mask, 8))


@pytest.mark.parametrize("width", WIDTHS)
@given(st.data())
@settings(max_examples=8, deadline=None)
def test_any_pair_of_any_ring_is_compared_and_so_are_neighbours(width, data):
    mask = np.array([data.draw(st.lists(st.integers(0, 2**width - 1), min_size=9, max_size=9))], np.uint32)
    digit = np.uint32(data.draw(st.integers(0, width - 1)))
    near = [mask, mask + np.uint32(1), mask - np.uint32(1), mask ^ np.uint32(1) << digit]
    near.append(np.array([data.draw(st.lists(st.integers(0, 2**width - 1), min_size=9, max_size=9))], np.uint32))
    opened = np.concatenate(near, axis=1) & np.uint32(2**width - 1)
    masks = np.tile(mask, 5)
    assert np.array_equal(compare(opened, masks, width)[0], expected(opened, masks, width))


@pytest.mark.parametrize("width", WIDTHS)
def test_few_digits_are_joined_in_one_round_and_what_is_sent_is_uniform(width):
    generator = np.random.default_rng(width)
    mask = generator.integers(0, 2**width, (2, 4096), dtype=np.uint32)
    _, sent = compare(np.zeros_like(mask), mask, width)
    levels = and_levels(width)
    assert len(levels) == (1 if width <= 16 else 3)
    for messages in sent:
        assert [message.shape[1] for message in messages] == [opened for opened, _ in levels]
        for message in messages:
            ones = np.unpackbits(message, axis=2).mean(axis=(0, 2))
            assert np.abs(ones - 0.5).max() < 6 * 0.5 / np.sqrt(2 * 4096)
    opened = [np.unpackbits(first ^ second) for first, second in zip(*sent)]
    assert all(abs(bits.mean() - 0.5) < 6 * 0.5 / np.sqrt(bits.size) for bits in opened)


@pytest.mark.parametrize("digits", range(2, MOST_DIGITS + 1))
def test_every_dealt_product_decides_some_comparison(digits):
    """One wrong bit of any product, at any element, is seen in the result."""
    width = 4 * digits
    mask = np.random.default_rng(1).integers(0, 2**width, (1, 8 * 64), dtype=np.uint32)
    right = expected(mask, mask, width)
    for product in range(len(chain_products(digits))):

        def flip(dealt, product=product):
            start = (onehot_planes(width) + product) * 64
            dealt[0][start : start + 64] ^= 0xFF

        assert not np.array_equal(compare(mask, mask, width, flip)[0], right), chain_products(digits)[product]


def test_a_wrong_term_is_noticed(monkeypatch):
    right = and_chain.chain_monomials
    for module in (and_chain, masked_kernels):
        monkeypatch.setattr(module, "chain_monomials", lambda digits: right(digits)[:-1])
    mask = np.random.default_rng(1).integers(0, 2**16, (1, 800), dtype=np.uint32)
    opened = mask ^ np.uint32(1)
    assert not np.array_equal(compare(opened, mask, 16)[0], expected(opened, mask, 16))


@given(st.integers(2, 5))
def test_a_chain_deals_the_product_of_every_set_of_a_terms_bits_once(digits):
    products, terms = chain_products(digits), chain_terms(digits)
    assert len(set(products)) == len(products) == {2: 1, 3: 5, 4: 15, 5: 37}[digits]
    assert all(any(set(each) <= set(term) for term in terms) for each in products)
    assert set().union(*terms) == set(range(chain_opened(digits)))
    assert chain_opened(2) == and_tree(2)[0][0]
