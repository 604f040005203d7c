"""The convolution tile in Verilog computes ring convolutions, and takes exactly the cycles of the formula."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from helpers.rtl_simulators import needs_verilator, simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.cost.array import (
    Block,
    _repeated_cycles,
    array_plans,
    conv_cycles,
    part_cycles,
    product_cycles,
    sequence_cycles,
)
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.hls.rtl.modules import CONV_TILE
from rrnet_nni.fpga.hls.rtl.simulator import Run
from rrnet_nni.fpga.hls.rtl.streams import LANES, TileStreams, conv_streams, place_sums
from rrnet_nni.fpga.program.operators import Conv, Linear
from rrnet_nni.fpga.ring import ring_conv2d

ACCELERATOR = load_device("zcu104-rrnet").accelerator
KERNELS, STRIDES = ((1, 1), (2, 3), (3, 3), (5, 5), (7, 7)), ((1, 1), (2, 2), (3, 3), (1, 2))
GRID = [
    Conv(channels, size, size + 1, kernel, stride, (kernel[0] // 2, kernel[1] // 2) * 2, out_channels=outputs)
    for channels, outputs, size, kernel, stride in itertools.product((1, 8, 20), (3, 16), (1, 4, 9), KERNELS, STRIDES)
] + [
    Conv(
        channels,
        size,
        size + 1,
        kernel,
        stride,
        (kernel[0] // 2, kernel[1] // 2) * 2,
        out_channels=channels,
        groups=channels,
    )
    for channels, size, kernel, stride in itertools.product((2, 8, 20), (1, 4, 9), KERNELS, STRIDES)
]


def random_conv(conv: Conv, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.integers(0, 2**32, (1, conv.channels, conv.height, conv.width), dtype=np.uint32)
    shape = (conv.out_channels, conv.channels // conv.groups, *conv.kernel)
    return x, random.integers(0, 2**32, shape, dtype=np.uint32)


def streams_and_result(conv: Conv, rows: int = 8, columns: int = 8) -> tuple[TileStreams, np.ndarray]:
    x, weights = random_conv(conv)
    expected = ring_conv2d(x, weights, conv.stride, conv.padding, conv.groups)
    return conv_streams(x, weights, conv, rows, columns), expected


def check_grid(shapes: list[Conv]) -> None:
    """Every word right, every cycle as the formula says."""
    cases = [streams_and_result(conv) for conv in shapes]
    outcomes = simulator(CONV_TILE).run([Run(streams.words, streams.bus_words, {}) for streams, _ in cases])
    for conv, (streams, expected), outcome in zip(shapes, cases, outcomes, strict=True):
        assert outcome.status == "done", conv
        np.testing.assert_array_equal(place_sums(streams, outcome.words, conv, 1), expected, err_msg=str(conv))
        assert outcome.cycles == sequence_cycles(streams.blocks, LANES), conv


@needs_verilator
def test_words_and_cycles_agree_on_a_grid_of_shapes() -> None:
    check_grid(GRID)


@needs_verilator
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 17), st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_every_size_of_a_block_agrees(
    rows: int, columns: int, channels: int, kernel: int, stride: int, depthwise: bool
) -> None:
    size = (rows - 1) * stride + kernel, (columns - 1) * stride + kernel
    groups, outputs = (channels, channels) if depthwise and channels > 1 else (1, 9)
    conv = Conv(channels, *size, (kernel, kernel), (stride, stride), out_channels=outputs, groups=groups)
    check_grid([conv])


def check_stalls(seeds: range) -> None:
    """Every stream of a job of each kind pauses at random, now seldom, now most of the time."""
    dense = Conv(9, 4, 5, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=9)
    pointwise = Conv(17, 4, 5, (1, 1), out_channels=8)
    strided = Conv(8, 7, 7, (3, 3), (2, 2), (1, 1, 1, 1), out_channels=8)
    depthwise = Conv(16, 5, 4, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=16, groups=16)
    cases = [(conv, *streams_and_result(conv, 3, 8)) for conv in (dense, pointwise, strided, depthwise)]
    chosen = [cases[seed % len(cases)] for seed in seeds]
    runs = [
        Run(streams.words, streams.bus_words, {}, stalls=(25, 128, 230)[seed // len(cases) % 3], seed=seed)
        for seed, (_, streams, _) in zip(seeds, chosen)
    ]
    for seed, (conv, streams, expected), outcome in zip(seeds, chosen, simulator(CONV_TILE).run(runs)):
        assert outcome.status == "done", (seed, conv)
        np.testing.assert_array_equal(place_sums(streams, outcome.words, conv, 1), expected, err_msg=str((seed, conv)))


@needs_verilator
def test_a_thousand_seeds_of_stalls_neither_lock_nor_lose_a_word() -> None:
    check_stalls(range(1, 1001))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 3), st.integers(1, 5), st.booleans(), st.integers(1, 20))
def test_a_repeated_job_takes_what_its_blocks_take_one_by_one(
    rows: int, columns: int, kernel: int, inputs: int, depthwise: bool, times: int
) -> None:
    conv = Conv(8 * inputs, rows, columns, (kernel, kernel), (1, 1), (kernel // 2,) * 4, out_channels=8)
    if depthwise:
        conv = Conv(8, rows, columns, (kernel, kernel), (1, 1), (kernel // 2,) * 4, out_channels=8, groups=8)
    for plan in array_plans(conv, ACCELERATOR):
        assert _repeated_cycles(plan.job, LANES, times) == sequence_cycles(plan.job * times, LANES)


def test_the_plan_of_a_convolution_has_its_blocks() -> None:
    conv = Conv(20, 16, 16, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=17)
    streams, _ = streams_and_result(conv)
    plan = next(plan for plan in array_plans(conv, ACCELERATOR) if plan.job[0].rows == plan.job[0].columns == 8)
    assert plan.job * plan.jobs == streams.blocks


def test_an_efficient_plan_keeps_the_lanes_busy() -> None:
    conv = Conv(64, 16, 16, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=64)
    lanes = ACCELERATOR.array_tiles * LANES * LANES
    assert 0.85 < conv.macs / conv_cycles(conv, ACCELERATOR) / lanes < 1


def test_input_channels_are_shared_out_where_outputs_do_not_fill_the_tiles() -> None:
    """512 inputs for ten outputs: two bands, each by five tiles, whose four further sums of two bus words wait."""
    job = [Block(1, 1, first=i == 0, last=i == 12) for i in range(13)]
    assert conv_cycles(Linear(512, 10), ACCELERATOR) == sequence_cycles(job, LANES) + 4 * 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 600), st.integers(1, 40), st.integers(1, 9), st.sampled_from([1, 3]))
def test_every_plan_does_all_of_the_work(inputs: int, outputs: int, size: int, kernel: int) -> None:
    conv = Conv(inputs, size, size, (kernel, kernel), (1, 1), (kernel // 2,) * 4, out_channels=outputs)
    for plan in array_plans(conv, ACCELERATOR):
        work = sum(block.rows * block.columns * block.kernel[0] * block.kernel[1] for block in plan.job)
        assert plan.jobs % plan.splits == 0
        assert plan.jobs * work * LANES * LANES >= conv.macs
        assert plan.cycles(ACCELERATOR) * ACCELERATOR.array_tiles * LANES * LANES >= conv.macs


@pytest.mark.parametrize("groups", [1, 32])
def test_a_band_takes_the_cycles_of_its_own_shape(groups: int) -> None:
    conv = Conv(32, 16, 16, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=32, groups=groups)
    whole, both = (product_cycles(conv, products, ACCELERATOR) for products in (1, 2))
    assert part_cycles(both, conv, (0, 32), (0, 16), ACCELERATOR) == both
    band = replace(conv, channels=32 if groups == 1 else 8, out_channels=8, groups=1 if groups == 1 else 8, height=8)
    assert part_cycles(whole, conv, (8, 16), (8, 16), ACCELERATOR) == conv_cycles(band, ACCELERATOR)
