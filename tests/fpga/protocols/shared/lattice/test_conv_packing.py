"""Convolutions as products of polynomials: coefficients that are wanted are the convolution's, whatever its shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.protocols.shared.lattice.conv_packing import ConvPacking, pack_convolution
from rrnet_nni.fpga.protocols.shared.lattice.polynomials import DEGREE


def negacyclic_product(first, second):
    """Of small integers, exactly."""
    transformed = np.fft.rfft(first.astype(float), 2 * DEGREE) * np.fft.rfft(second.astype(float), 2 * DEGREE)
    product = np.rint(np.fft.irfft(transformed, 2 * DEGREE)).astype(np.int64)
    return product[:DEGREE] - product[DEGREE:]


def placed_weights(packing, arranged, output, inputs):
    """One polynomial of weights, as the kernel places them."""
    sizes, taps = packing.weight_layout()
    channels, out_channels, group_inputs, group_outputs, _, per_input, per_output, pixels, offset = sizes
    polynomial = np.zeros(DEGREE, np.int64)
    for place, made in enumerate(range(output * per_output, min(out_channels, (output + 1) * per_output))):
        for channel in range(inputs * per_input, min(channels, (inputs + 1) * per_input)):
            if channel // group_inputs == made // group_outputs:
                base = offset + (place * per_input - channel % per_input) * pixels
                assert (base - taps).min() >= 0
                polynomial[base - taps] = arranged[made, channel % group_inputs]
    return polynomial


def convolved(packing, images, weights):
    """By the packing's polynomials."""
    inputs = packing.arrange_inputs(images).astype(np.int64)
    arranged, places = packing.arrange_weights(weights).astype(np.int64), packing.output_places()
    assert places.min() >= 0
    wanted = np.zeros((len(inputs), packing.output_polynomials, len(places)), np.uint32)
    for output in range(packing.output_polynomials):
        for index in range(packing.input_polynomials):
            polynomial = placed_weights(packing, arranged, output, index)
            for tile, each in enumerate(inputs):
                wanted[tile, output] += negacyclic_product(each[index], polynomial)[places].astype(np.uint32)
    return packing.gather_outputs(wanted, len(images))


def convolution(images, weights, stride, padding, groups):
    top, left, bottom, right = padding
    padded = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]
    parts = zip(np.split(windows, groups, axis=1), np.split(weights, groups))
    return np.concatenate([np.einsum("nchwij,ocij->nohw", *part) for part in parts], axis=1)


@st.composite
def geometries(draw):
    groups = draw(st.sampled_from((1, 1, 2)))
    channels = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 5))
    kernel, stride = (draw(st.tuples(st.integers(1, top), st.integers(1, top))) for top in (4, 2))
    padding = draw(st.tuples(*(st.integers(0, size) for size in (*kernel, *kernel))))
    least = [max(1, size - pads) for size, pads in zip(kernel, (padding[0] + padding[2], padding[1] + padding[3]))]
    height, width = (draw(st.integers(low, 12)) for low in least)
    return channels, (height, width), kernel, stride, padding, groups


def packed(channels, size, kernel, stride, padding, groups) -> ConvPacking:
    spans = size[0] + padding[0] + padding[2], size[1] + padding[1] + padding[3]
    out_size = tuple((span - tap) // step + 1 for span, tap, step in zip(spans, kernel, stride))
    shape = channels[1], channels[0] // groups, *kernel
    return pack_convolution((channels[0], *size), shape, stride, padding, groups, out_size)


@given(geometries(), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_wanted_coefficients_are_the_convolution(geometry, seed):
    channels, size, kernel, stride, padding, groups = geometry
    packing, generator = packed(*geometry), np.random.default_rng(seed)
    images = generator.integers(0, 8, (2, channels[0], *size), np.uint32)
    weights = generator.integers(0, 8, (channels[1], channels[0] // groups, *kernel), np.uint32)
    expected = convolution(images, weights, stride, padding, groups)
    assert np.array_equal(convolved(packing, images, weights), expected)


@pytest.mark.parametrize("size", [100, 9])
def test_large_images_are_tiled_and_small_ones_are_not(size):
    geometry = (2, 3), (size, size), (3, 3), (1, 1), (1, 1, 1, 1), 1
    packing, generator = packed(*geometry), np.random.default_rng(size)
    assert (packing.tile_count > 1) == (size == 100)
    images = generator.integers(0, 8, (1, 2, size, size), np.uint32)
    weights = generator.integers(0, 8, (3, 2, 3, 3), np.uint32)
    assert np.array_equal(convolved(packing, images, weights), convolution(images, weights, (1, 1), (1, 1, 1, 1), 1))


@pytest.mark.parametrize(("size", "pixels"), [(4, 5 * 5), (8, 9 * 9), (32, 33 * 33)])
def test_neighbours_share_their_padding(size, pixels):
    packing = packed((64, 64), (size, size), (3, 3), (1, 1), (1, 1, 1, 1), 1)
    assert packing.pixels == pixels
    assert packing.inputs_per_polynomial * packing.outputs_per_polynomial * pixels <= DEGREE


def test_one_sided_padding_is_no_longer_than_itself():
    assert packed((2, 2), (8, 8), (3, 3), (1, 1), (2, 2, 0, 0), 1).pixels == 10 * 10
    assert packed((2, 2), (8, 8), (3, 3), (1, 1), (2, 0, 0, 2), 1).pixels == 10 * 10
