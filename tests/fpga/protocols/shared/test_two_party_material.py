"""What two parties make is octet for octet what a dealer with their seeds would have dealt, for the predicted bytes."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.protocols.beaver_ot.comparison import Signs, deal_select
from rrnet_nni.fpga.protocols.beaver_ot.products import BeaverLinear, BeaverSquare, Truncation
from rrnet_nni.fpga.protocols.beaver_ot.relu_material import receive_select, select_rounds, send_select
from rrnet_nni.fpga.protocols.beaver_ot.truncation_material import (
    receive_truncation,
    send_truncation,
    truncation_rounds,
)
from rrnet_nni.fpga.protocols.material import CorrectionWriter
from rrnet_nni.fpga.protocols.shared.lattice.encryption import Evaluator, SecretKey
from rrnet_nni.fpga.protocols.shared.lattice.linear_material import LinearMaterial, receive_linear, send_linear
from rrnet_nni.fpga.protocols.shared.linear_geometry import LinearGeometry
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.transfers import SETUP_BYTES, Transfers
from rrnet_nni.fpga.protocols.shared.randomness import Keystream
from rrnet_nni.fpga.protocols.shared.square_material import square_rounds, square_share
from rrnet_nni.fpga.ring import pack_weights
from rrnet_nni.fpga.ring.geometry import output_size
from rrnet_nni.fpga.runtime.link.link import Link


class Pair:
    """Two parties with running extensions, in threads."""

    def __init__(self):
        ends = socket.socketpair()
        self.links = [Link(end, "the other party", 30) for end in ends]
        self.pool = ThreadPoolExecutor(2)
        self.transfers = self.both(*(lambda n=n: Transfers(n, self.links[n], bytes(16)) for n in (0, 1)))
        self.key = SecretKey()
        self.evaluator = Evaluator(self.key.public_key())

    def both(self, first, second):
        futures = [self.pool.submit(first), self.pool.submit(second)]
        return [future.result() for future in futures]

    def check(self, seed, images, rounds, send, receive, deal):
        """Run both sides, then deal with the same seeds."""
        made, dealt = CorrectionWriter(images), CorrectionWriter(images)
        before = [link.counters for link in self.links]
        sources = expansions(seed, images)
        self.both(
            lambda: send(self.transfers[0], sources[0]),
            lambda: receive(self.transfers[1], sources[1], made),
        )
        used = [link.counters - then for link, then in zip(self.links, before)]
        for party in (0, 1):
            assert used[party].bytes_sent == sum(each.bytes_sent[party] for each in rounds)
            assert used[party].rounds == len(rounds)
        deal(expansions(seed, images), dealt)
        for ours, theirs in zip(made.buffers(), dealt.buffers(), strict=True):
            assert np.array_equal(ours, theirs)


def expansions(seed, images):
    generator = np.random.default_rng(seed)
    return [Keystream([generator.bytes(16) for _ in range(images)], 3) for _ in (0, 1)]


@pytest.fixture(scope="module")
def pair():
    return Pair()


def test_starting_sends_what_is_predicted():
    started = Pair()
    assert tuple(link.counters.bytes_sent for link in started.links) == SETUP_BYTES


sizes = st.integers(1, 70), st.integers(1, 3), st.integers(0, 2**32)


@given(*sizes)
@settings(max_examples=8)
def test_material_of_a_comparison_is_the_dealers(pair, elements, images, seed):
    pair.check(
        seed,
        images,
        select_rounds(elements, elements, images),
        lambda transfers, source: send_select(transfers, elements, Signs(elements), source),
        lambda transfers, source, writer: receive_select(transfers, elements, Signs(elements), source, writer),
        lambda sources, writer: deal_select(elements, Signs(elements), sources, writer),
    )


@given(st.integers(2, 5), st.integers(1, 12), st.integers(1, 3), st.integers(0, 2**32))
@settings(max_examples=12)
def test_material_of_signs_that_choose_several_elements_each_is_the_dealers(pair, share, count, images, seed):
    elements = share * count
    signs = Signs(count, np.random.default_rng(seed).permutation(np.arange(elements) // share))
    pair.check(
        seed,
        images,
        select_rounds(elements, count, images),
        lambda transfers, source: send_select(transfers, elements, signs, source),
        lambda transfers, source, writer: receive_select(transfers, elements, signs, source, writer),
        lambda sources, writer: deal_select(elements, signs, sources, writer),
    )


def check_truncation(pair, bits, elements, images, seed):
    pair.check(
        seed,
        images,
        truncation_rounds(bits, elements, images),
        lambda transfers, source: send_truncation(transfers, bits, elements, source),
        lambda transfers, source, writer: receive_truncation(transfers, bits, elements, source, writer),
        lambda sources, writer: Truncation.deal(bits, (elements,), sources, writer),
    )


@given(st.integers(1, 29), *sizes)
@settings(max_examples=12)
def test_material_of_a_truncation_is_the_dealers(pair, bits, elements, images, seed):
    check_truncation(pair, bits, elements, images, seed)


def test_material_is_the_dealers_where_a_mask_carries_and_wraps_in_every_way(pair):
    """A carry at the dropped bits, one at the top bit and the wrap, alone and together."""
    bits, elements, seed = 8, 20_000, 5
    first, second = (source.words(elements).astype(np.uint64) for source in expansions(seed, 1))
    carries = [((first % 2**place + second % 2**place) >> place) & 1 for place in (bits, 31, 32)]
    assert np.unique(np.concatenate(carries), axis=1).shape == (3, 8)
    check_truncation(pair, bits, elements, 1, seed)


@given(*sizes)
@settings(max_examples=8)
def test_material_of_a_square_is_the_dealers(pair, elements, images, seed):
    pair.check(
        seed,
        images,
        square_rounds(elements, images),
        lambda transfers, source: square_share(transfers, source.words(elements), source.words(elements)),
        lambda transfers, source, writer: writer.put(square_share(transfers, source.words(elements), None)),
        lambda sources, writer: BeaverSquare.deal((elements,), sources, writer),
    )


def check_linear(pair, shape, geometry, images, seed):
    weights = geometry.weights
    if len(weights) == 2:
        outputs = (weights[0],)
    else:
        padding, stride = geometry.padding, geometry.stride
        outputs = (
            weights[0],
            output_size(shape[1], weights[2], stride[0], padding[0], padding[2]),
            output_size(shape[2], weights[3], stride[1], padding[1], padding[3]),
        )
    material = LinearMaterial(geometry, shape, outputs)
    mask = np.random.default_rng(seed).integers(0, 2**32, weights, np.uint32)
    packed = pack_weights(mask, geometry.groups)
    pair.check(
        seed,
        images,
        material.image_rounds(images),
        lambda transfers, source: send_linear(
            transfers, material, pair.key, source.words(*shape), source.words(*outputs)
        ),
        lambda transfers, source, writer: writer.put(
            receive_linear(transfers, material, pair.evaluator, mask, packed, source.words(*shape))
        ),
        lambda sources, writer: BeaverLinear.deal(geometry, packed, (shape, outputs), sources, writer),
    )


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    inputs, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
    height, width = (draw(st.integers(kernel[axis], 12)) for axis in (0, 1))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    weights = groups * outputs, inputs, *kernel
    return (groups * inputs, height, width), LinearGeometry(weights, stride, padding, groups)


@given(convolutions(), st.integers(1, 2), st.integers(0, 2**32))
@settings(max_examples=12)
def test_material_of_a_convolution_is_the_dealers(pair, convolution, images, seed):
    check_linear(pair, *convolution, images, seed)


@pytest.mark.parametrize(
    ("shape", "geometry"),
    [
        ((5,), LinearGeometry((7, 5))),
        ((300,), LinearGeometry((40, 300))),
        ((48, 4, 4), LinearGeometry((48, 1, 3, 3), (1, 1), (1, 1, 1, 1), 48)),
        ((40, 8, 8), LinearGeometry((72, 40, 3, 3), (2, 2), (1, 1, 1, 1))),
        ((2, 100, 120), LinearGeometry((2, 2, 3, 3), (1, 1), (1, 1, 1, 1))),
        ((1, 4, 6000), LinearGeometry((1, 1, 3, 3), (1, 1), (1, 1, 1, 1))),
        ((2, 140, 141), LinearGeometry((1, 2, 7, 7), (2, 2), (3, 3, 3, 3))),
    ],
    ids=["linear", "wide linear", "depthwise", "many polynomials", "rows of tiles", "columns of tiles", "strided"],
)
def test_material_of_every_kind_of_product_is_the_dealers(pair, shape, geometry):
    check_linear(pair, shape, geometry, 1, 9)
