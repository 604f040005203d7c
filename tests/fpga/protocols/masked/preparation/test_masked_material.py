"""What two parties share of a wire's mask: its bits, digits, forms and products, from additive shares alone."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.program import AffineOp, MaxPoolOp, ReluOp, SquareOp, TruncateOp
from rrnet_nni.fpga.protocols.masked.masks import lifted_forms
from rrnet_nni.fpga.protocols.masked.preparation.bits_material import (
    MaskBits,
    lift_rounds,
    share_forms,
    share_wide_squares,
    wide_square_rounds,
)
from rrnet_nni.fpga.protocols.masked.preparation.bits_plan import BitsPlan, plan_bits
from rrnet_nni.fpga.protocols.masked.preparation.mask_digits import digit_rounds, share_digits
from rrnet_nni.fpga.protocols.shared.bit_planes import indicators, plane_words, word_planes
from rrnet_nni.fpga.protocols.shared.digit_planes import DIGIT_BITS
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.bit_words import (
    BitProducts,
    Factor,
    multiply_bits,
    product_rounds,
)
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.carries import carry_rounds, share_carries
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.cross_products import cross_product, cross_rounds
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.transfers import Transfers
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder


class Pair:
    """Two parties with running extensions, in threads."""

    def __init__(self):
        ends = socket.socketpair()
        self.links = [Link(end, "the other party", 30) for end in ends]
        self.pool = ThreadPoolExecutor(2)
        self.transfers = self.both(lambda number: Transfers(number, self.links[number], bytes(16)))

    def both(self, run):
        return [future.result() for future in [self.pool.submit(run, number) for number in (0, 1)]]

    def share(self, rounds, run):
        """Both parties' results of `run(number, transfers)`; every byte is predicted."""
        before = [link.counters for link in self.links]
        results = self.both(lambda number: run(number, self.transfers[number]))
        for party, (link, then) in enumerate(zip(self.links, before)):
            used = link.counters - then
            assert used.bytes_sent == sum(each.bytes_sent[party] for each in rounds)
            assert used.rounds == len(rounds)
        return results


@pytest.fixture(scope="module")
def pair():
    return Pair()


def words(seed, images, elements):
    """Two shares, uniform but for corners: sums that wrap, carry all the way or not at all."""
    generator = np.random.default_rng(seed)
    shares = generator.integers(0, 2**32, (2, images, elements), np.uint32)
    corners = [(0, 0), (2**32 - 1, 1), (2**31, 2**31), (2**31 - 1, 1), (2**32 - 1, 2**32 - 1), (7, 1), (8, 0xF8)]
    for place, (first, second) in enumerate(corners[:elements]):
        shares[:, 0, place] = first, second
    return shares


def planes(word, count):
    return word_planes(np.ascontiguousarray(word), count)


sizes = st.integers(1, 70), st.integers(1, 3), st.integers(0, 2**32)


@given(st.sets(st.integers(1, 32), min_size=1), *sizes)
@settings(max_examples=12, deadline=None)
def test_carries_are_those_of_the_sum(pair, cuts, elements, images, seed):
    cuts, r = sorted(cuts), words(seed, images, elements)
    rounds = carry_rounds(cuts, elements, images)
    first, second = pair.share(rounds, lambda number, transfers: share_carries(transfers, r[number], cuts))
    for cut in cuts:
        low = np.uint64(2**cut - 1)
        expected = ((r[0] & low) + (r[1] & low)) >> np.uint64(cut)
        assert np.array_equal(plane_words(first[cut] ^ second[cut], elements), expected)


widths = st.integers(2, 8).map(lambda digits: 4 * digits)


@given(widths, *sizes)
@settings(max_examples=12, deadline=None)
def test_digits_are_the_one_hot_words_of_the_sum_and_its_bits(pair, width, elements, images, seed):
    r = words(seed, images, elements)
    rounds = digit_rounds(width, elements, images)
    first, second = pair.share(rounds, lambda number, transfers: share_digits(transfers, r[number], width))
    total, low = r[0] + r[1], np.uint32(2 ** (width - 1) - 1)
    shift, expected = 0, []
    for bits in DIGIT_BITS[: width // 4]:
        expected.append(indicators(planes(total >> np.uint32(shift), bits)[:, None])[:, 0])
        shift += bits
    assert np.array_equal(first.onehot ^ second.onehot, np.concatenate(expected, axis=1))
    carry = ((r[0] & low) + (r[1] & low)) >> np.uint32(width - 1)
    assert np.array_equal(plane_words(first.carry ^ second.carry, elements), carry)
    for place in range(width - 1):
        bit = plane_words(first.bit(place) ^ second.bit(place), elements)
        assert np.array_equal(bit, total >> np.uint32(place) & np.uint32(1))


def test_digits_of_many_words_are_right_and_each_share_is_noise(pair):
    r = words(5, 1, 80_000)
    shares = pair.share(digit_rounds(32, 80_000, 1), lambda number, transfers: share_digits(transfers, r[number], 32))
    total = r[0] + r[1]
    opened = shares[0].onehot ^ shares[1].onehot
    assert np.array_equal(opened[:, :8], indicators(planes(total, 3)[:, None])[:, 0])
    assert np.array_equal(opened[:, 104:], indicators(planes(total >> np.uint32(27), 4)[:, None])[:, 0])
    for share in shares:
        counts = np.bincount(share.onehot.reshape(-1), minlength=256)
        expected = share.onehot.size / 256
        assert abs(((counts - expected) ** 2 / expected).sum() - 255) < 6 * np.sqrt(510)


@given(st.sampled_from([np.uint32, np.uint64]), st.integers(1, 4), st.booleans(), *sizes)
@settings(max_examples=12, deadline=None)
def test_products_of_bits_and_words_are_right_in_the_octets_that_are_wanted(
    pair, kind, octets, one_way, elements, images, seed
):
    generator = np.random.default_rng(seed)
    bits = generator.integers(0, 2, (2, 2, images, elements), np.uint32)
    factors = generator.integers(0, np.iinfo(kind).max, (2, 2, images, elements), kind, endpoint=True)
    factors[1, 1] = 0 if one_way else factors[1, 1]
    plan = [BitProducts((Factor(octets),)), BitProducts((Factor(octets), Factor(octets, one_way)))]

    def run(number, transfers):
        own = [np.packbits(bit.astype(np.uint8), axis=-1) for bit in bits[number]]
        a, b = factors[number]
        return multiply_bits(transfers, plan, own, [[a], [a, b]])

    first, second = pair.share(product_rounds(plan, elements, images), run)
    opened, total = bits[0] ^ bits[1], factors[0] + factors[1]
    low = kind(256**octets - 1)
    assert np.array_equal((first[0][0] + second[0][0]) & low, (opened[0].astype(kind) * total[0]) & low)
    assert np.array_equal((first[1][0] + second[1][0]) & low, (opened[1].astype(kind) * total[0]) & low)
    assert np.array_equal((first[1][1] + second[1][1]) & low, (opened[1].astype(kind) * total[1]) & low)


@given(st.integers(1, 32), *sizes)
@settings(max_examples=12, deadline=None)
def test_cross_products_are_right_for_every_width(pair, bits, elements, images, seed):
    r = words(seed, images, elements).astype(np.uint64) & np.uint64(2**bits - 1)
    rounds = cross_rounds(bits, 63, elements, images)
    first, second = pair.share(rounds, lambda number, transfers: cross_product(transfers, r[number], bits, 63))
    assert np.array_equal((first + second) & np.uint64(2**63 - 1), (r[0] * r[1]) & np.uint64(2**63 - 1))


def mask_bits(r, number, width, dropped, seed):
    """Shares of the bits of r_0 + r_1 as a trusted hand would make them."""
    total = [part.astype(np.uint64) & np.uint64(2**width - 1) for part in r]
    generator = np.random.default_rng(seed)

    def share(bit):
        plane = np.packbits(bit.astype(np.uint8), axis=-1)
        other = generator.integers(0, 256, plane.shape, np.uint8)
        return other if number == 0 else plane ^ other

    low = np.uint64(2**dropped - 1)
    carry = share(((total[0] & low) + (total[1] & low)) >> np.uint64(dropped))
    wrap = share((total[0] + total[1]) >> np.uint64(width))
    top = share((r[0] + r[1]) >> np.uint32(width - 1) & np.uint32(1))
    return MaskBits(width, dropped, carry if dropped else None, wrap, top)


#: Words that are lifted: whole ones without their low bits, or narrower ones as they are.
lifted_words = st.one_of(st.tuples(st.just(32), st.integers(0, 29)), st.tuples(widths, st.just(0)))


@given(lifted_words, *sizes)
@settings(max_examples=20, deadline=None)
def test_forms_and_their_squares_are_the_dealers(pair, word, elements, images, seed):
    width, dropped = word
    r = words(seed, images, elements)
    wide = lifted_forms(r[0] + r[1], dropped, True, width)
    fixed = np.random.default_rng(seed).integers(0, 2**64, (4, images, elements), np.uint64)

    def run(number, transfers):
        bits = mask_bits(r, number, width, dropped, seed)
        own = tuple(fixed) if number == 0 else ()
        forms = share_forms(transfers, r[number], bits, np.dtype(np.uint64), own[:2])
        return *forms, *share_wide_squares(transfers, r[number], bits, forms, own[2:])

    lifting = lift_rounds(width, dropped, 8, elements, images)
    first, second = pair.share((*lifting, *wide_square_rounds(width, dropped, elements, images)), run)
    for own, other, expected, place in zip(first, second, (*wide, *(form * form for form in wide)), fixed):
        assert np.array_equal(own, place)
        assert np.array_equal(own + other, expected)


@given(lifted_words, *sizes)
@settings(max_examples=12, deadline=None)
def test_narrow_forms_are_the_dealers(pair, word, elements, images, seed):
    width, dropped = word
    r = words(seed, images, elements)
    fixed = np.random.default_rng(seed).integers(0, 2**32, (2, images, elements), np.uint32)

    def run(number, transfers):
        bits = mask_bits(r, number, width, dropped, seed)
        return share_forms(transfers, r[number], bits, np.dtype(np.uint32), tuple(fixed) if number == 0 else ())

    first, second = pair.share(lift_rounds(width, dropped, 4, elements, images), run)
    for own, other, expected in zip(first, second, lifted_forms(r[0] + r[1], dropped, False, width)):
        assert np.array_equal(own + other, expected)


def test_a_masks_digits_are_shared_once_and_dropped_after_their_last_use():
    b, shape = ProgramBuilder((4, 2, 2), 8), (4, 2, 2)
    b.add(TruncateOp, "t", ["image"], shape, 4, bits=4)
    b.add(ReluOp, "relu", ["t"], shape, 4)
    b.add(TruncateOp, "alone", ["relu"], shape, 2, bits=2)
    b.add(SquareOp, "square", ["alone"], shape, 4)
    b.add(AffineOp, "sum", ["square", "relu"], shape, 4, multipliers=((1,), (1,)))
    b.add(MaxPoolOp, "pool", ["sum"], (4, 1, 1), 4, kernel=(2, 2), stride=(2, 2))
    plans = dict(zip((operation.name for operation in b.operations), plan_bits(b.program())))
    assert plans["t"] == BitsPlan(("image", 0, 32), dropped=4, lifts=True, digits=True, first=True)
    assert plans["relu"] == BitsPlan(("image", 0, 32), digits=True, last=True)
    assert plans["alone"] == BitsPlan(("relu", 2, 32), dropped=2, lifts=True)
    assert [plans[name] for name in ("square", "sum", "pool")] == [None] * 3
