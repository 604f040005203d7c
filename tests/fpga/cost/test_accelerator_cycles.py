"""Every step of every executed protocol has cycles on an accelerator, and more units never take longer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.compiler.schedule.jobs import Rates
from rrnet_nni.fpga.cost.accelerator import keystream_bits, step_cycles
from rrnet_nni.fpga.cost.array import BUS_WORDS, conv_cycles, product_cycles, product_keystream_bits
from rrnet_nni.fpga.cost.kernels import WORD_OPERATIONS
from rrnet_nni.fpga.cost.latency import operator_cost
from rrnet_nni.fpga.cost.streaming import AES_STAGES, BUS_BITS
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import Conv, Linear, MaxPool, OperatorShape, Relu, Relu6, X2act
from rrnet_nni.fpga.protocols import executions, get_costs
from rrnet_nni.fpga.protocols.shared.executed import Work

DEVICE = load_device("zcu104-rrnet")
SHAPES: tuple[OperatorShape, ...] = (
    Conv(20, 9, 9, (3, 3), (2, 2), (1, 1, 1, 1), out_channels=24),
    Conv(24, 9, 9, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=24, groups=24),
    Linear(100, 10),
    Relu(1000),
    Relu6(1000),
    X2act(1000),
    MaxPool(8, 9, 9, (3, 3), (2, 2), (1, 1, 1, 1)),
)
EXECUTED = [get_costs(name) for name in executions()]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
@pytest.mark.parametrize("protocol", EXECUTED, ids=lambda protocol: protocol.name)
def test_every_operator_has_a_cost_that_more_units_do_not_raise(protocol, shape: OperatorShape) -> None:
    assert DEVICE.accelerator is not None
    own = operator_cost(shape, DEVICE, protocol).compute_ms
    assert own > 0
    for unit in ("array_tiles", "alu_units", "compare_units", "aes_cores"):
        more = replace(DEVICE.accelerator, **{unit: 2 * getattr(DEVICE.accelerator, unit)})
        assert operator_cost(shape, replace(DEVICE, accelerator=more), protocol).compute_ms <= own


@pytest.mark.parametrize(("kernel", "step"), sorted(WORD_OPERATIONS))
def test_every_step_that_rates_know_the_accelerator_knows_too(kernel: str, step: str) -> None:
    assert DEVICE.accelerator is not None
    few, many = (step_cycles(kernel, step, count, Relu(1), DEVICE.accelerator) for count in (1, 100_000))
    assert 0 < few < many
    assert step_cycles(kernel, step, 0, Relu(1), DEVICE.accelerator) == 0


def test_the_depthwise_dataflow_is_worth_its_place() -> None:
    assert DEVICE.accelerator is not None
    starved = replace(DEVICE, accelerator=replace(DEVICE.accelerator, depthwise=0))
    conv = Conv(96, 16, 16, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=96, groups=96)
    for protocol in EXECUTED:
        ours, theirs = (operator_cost(conv, device, protocol).compute_ms for device in (DEVICE, starved))
        assert ours < theirs


def test_masks_of_weights_are_expanded_as_fast_as_memory_brings_the_weights() -> None:
    assert DEVICE.accelerator is not None
    assert 4 * BUS_WORDS * DEVICE.accelerator.aes_cores >= Rates.of(DEVICE).load_bytes_per_cycle


@given(
    channels=st.integers(1, 80),
    size=st.integers(1, 40),
    out_channels=st.integers(1, 80),
    kernel=st.sampled_from((1, 3, 5)),
    products=st.integers(1, 3),
)
def test_products_wait_for_masks_only_where_blocks_are_small(
    channels: int, size: int, out_channels: int, kernel: int, products: int
) -> None:
    """Products go on at their own speed as long as the cores bring the masks of their weights."""
    assert DEVICE.accelerator is not None
    conv = Conv(channels, size, size, (kernel, kernel), (1, 1), (kernel // 2,) * 4, out_channels=out_channels)
    plain, cycles = conv_cycles(conv, DEVICE.accelerator), product_cycles(conv, products, DEVICE.accelerator)
    masks = product_keystream_bits(conv) / (BUS_BITS * DEVICE.accelerator.aes_cores)
    assert cycles >= max(products * plain, plain + (products - 1) * masks)
    if masks + AES_STAGES < plain:
        assert cycles == products * plain


@pytest.mark.parametrize("protocol", EXECUTED, ids=lambda protocol: protocol.name)
def test_no_step_is_faster_than_its_keystream(protocol) -> None:
    accelerator = DEVICE.accelerator
    assert accelerator is not None
    for shape in SHAPES:
        for primitive in protocol.primitives(shape):
            for step in protocol.steps(primitive, 1):
                if isinstance(step, Work):
                    cycles = step_cycles(step.kernel, step.step, step.count, primitive, accelerator)
                    bits = keystream_bits(step.kernel, step.step, step.count, primitive)
                    assert cycles * accelerator.aes_cores * BUS_BITS >= bits
