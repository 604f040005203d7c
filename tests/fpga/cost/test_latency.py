"""Operator costs: additive, monotone, in the right units."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.operator_shapes import convolutions, elementwise, pools, protocols, shapes
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.cost import OperatorCost, operator_cost, phase_cost
from rrnet_nni.fpga.cost.kernels import WORD_OPERATIONS, array_rate
from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.cost.protocol import Compute, Exchange
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import (
    Add,
    Affine,
    Conv,
    Linear,
    NamedOperator,
    OperatorShape,
    Relu,
    Relu6,
    Square,
    Truncate,
    X2act,
)
from rrnet_nni.fpga.protocols import get_costs, protocol_names
from rrnet_nni.fpga.protocols.beaver_ot.costs import beaver_ot_steps
from rrnet_nni.fpga.protocols.masked.variant_costs import MaskedVariant, Wires
from rrnet_nni.fpga.protocols.shared.executed import Work

DEVICE = load_device("zcu104")


def priced(shape: OperatorShape, protocol: str = "beaver-ot", batch: int = 1, **device: float) -> OperatorCost:
    return operator_cost(shape, replace(DEVICE, **device), get_costs(protocol), batch)


# --- units


def test_cycles_become_milliseconds_at_the_clock() -> None:
    assert phase_cost(Compute("array", 200_000), DEVICE).compute_ms == pytest.approx(1.0)


def test_the_longer_direction_of_a_round_counts_and_costs_one_message() -> None:
    cost = phase_cost(Exchange((1_000_000, 250_000)), DEVICE)
    assert cost.transfer_ms == pytest.approx(1.0)
    assert cost.message_ms == pytest.approx(1e3 * DEVICE.message_latency_s)
    assert (cost.rounds, cost.bytes_sent) == (1, (1_000_000, 250_000))


@given(shapes, protocols)
def test_ten_times_the_clock_is_a_tenth_of_the_computation_and_nothing_else(shape, protocol) -> None:
    slow = operator_cost(shape, DEVICE, protocol)
    fast = operator_cost(shape, replace(DEVICE, clock_hz=10 * DEVICE.clock_hz), protocol)
    assert fast.compute_ms == pytest.approx(slow.compute_ms / 10)
    assert fast.communication_ms == slow.communication_ms


@given(shapes, protocols, st.floats(1e3, 1e12), st.floats(0, 1))
def test_transfer_is_bytes_over_bandwidth_and_messages_are_rounds_times_latency(shape, protocol, rate, delay) -> None:
    cost = operator_cost(shape, DEVICE.with_network(rate, delay), protocol)
    assert cost.message_ms == pytest.approx(1e3 * cost.rounds * delay)
    serial_bytes = cost.transfer_ms * rate / 1e3
    assert max(cost.bytes_sent) <= serial_bytes * (1 + 1e-9)
    assert serial_bytes <= sum(cost.bytes_sent) * (1 + 1e-9)


# --- additivity


@given(shapes, protocols, st.integers(1, 5))
def test_an_operator_is_the_sum_of_its_phases(shape, protocol, batch) -> None:
    cost = operator_cost(shape, DEVICE, protocol, batch)
    phases = [phase for one in protocol.primitives(shape) for phase in protocol.phases(one, DEVICE, batch)]
    parts = [phase_cost(phase, DEVICE) for phase in phases]
    assert cost.latency_ms == pytest.approx(sum(part.latency_ms for part in parts))
    assert cost.latency_ms == cost.compute_ms + cost.communication_ms
    assert cost.communication_ms == cost.transfer_ms + cost.message_ms
    assert cost.rounds == sum(isinstance(phase, Exchange) for phase in phases)
    for party in (0, 1):
        assert cost.bytes_sent[party] == sum(part.bytes_sent[party] for part in parts)


@given(st.lists(shapes, min_size=1, max_size=5), protocols)
def test_a_network_is_the_sum_of_its_operators(many, protocol) -> None:
    cost = network_cost([NamedOperator(str(index), shape) for index, shape in enumerate(many)], DEVICE, protocol)
    assert cost.total.latency_ms == pytest.approx(sum(row.cost.latency_ms for row in cost.rows))
    assert cost.total.comparisons == sum(row.cost.comparisons for row in cost.rows)
    assert cost.pipelined_ms == sum(row.pipelined_ms for row in cost.rows)
    parts = DEVICE.board_power_w * cost.total.compute_ms + DEVICE.idle_power_w * cost.total.communication_ms
    assert cost.energy.joules == pytest.approx(2e-3 * parts)
    assert "assumed" in cost.energy.assumption


# --- monotonicity


def is_no_cheaper(more: OperatorCost, less: OperatorCost) -> bool:
    slack = 1 - 1e-12  # the order of additions
    return (
        more.latency_ms >= slack * less.latency_ms
        and more.compute_ms >= slack * less.compute_ms
        and more.transfer_ms >= slack * less.transfer_ms
        and more.rounds >= less.rounds
        and all(m >= n for m, n in zip(more.bytes_sent, less.bytes_sent))
        and all(m >= n for m, n in zip(more.offline_bytes, less.offline_bytes))
    )


@given(shapes, protocols, st.floats(1, 1e6))
def test_latency_never_falls_with_lower_bandwidth(shape, protocol, factor) -> None:
    slower = DEVICE.with_network(DEVICE.bandwidth_bytes_per_s / factor, DEVICE.message_latency_s)
    assert is_no_cheaper(operator_cost(shape, slower, protocol), operator_cost(shape, DEVICE, protocol))


@given(shapes, protocols, st.floats(0, 10))
def test_latency_never_falls_with_slower_messages(shape, protocol, more) -> None:
    slower = DEVICE.with_network(DEVICE.bandwidth_bytes_per_s, DEVICE.message_latency_s + more)
    assert is_no_cheaper(operator_cost(shape, slower, protocol), operator_cost(shape, DEVICE, protocol))


@given(st.one_of(convolutions(), pools()), protocols, st.integers(0, 5), st.integers(0, 5))
def test_latency_never_falls_with_more_pixels(shape, protocol, rows, columns) -> None:
    larger = replace(shape, height=shape.height + rows, width=shape.width + columns)
    assert is_no_cheaper(operator_cost(larger, DEVICE, protocol), operator_cost(shape, DEVICE, protocol))


@given(convolutions(), protocols, st.integers(0, 3), st.integers(0, 3))
def test_latency_never_falls_with_more_channels(shape, protocol, inputs, outputs) -> None:
    wider = replace(
        shape,
        channels=shape.channels + inputs * shape.groups,
        out_channels=shape.out_channels + outputs * shape.groups,
    )
    assert is_no_cheaper(operator_cost(wider, DEVICE, protocol), operator_cost(shape, DEVICE, protocol))


@given(pools(), protocols, st.integers(0, 9))
def test_pooling_never_falls_with_more_channels(shape, protocol, more) -> None:
    wider = replace(shape, channels=shape.channels + more)
    assert is_no_cheaper(operator_cost(wider, DEVICE, protocol), operator_cost(shape, DEVICE, protocol))


@given(elementwise, protocols, st.integers(0, 10_000))
def test_latency_never_falls_with_more_elements(shape, protocol, more) -> None:
    longer = replace(shape, elements=shape.elements + more)
    assert is_no_cheaper(operator_cost(longer, DEVICE, protocol), operator_cost(shape, DEVICE, protocol))


@given(st.one_of(convolutions(), elementwise))
def test_wider_wires_never_cost_less(shape) -> None:
    full, narrow = MaskedVariant(), get_costs("masked-dcf-narrow")
    assert is_no_cheaper(operator_cost(shape, DEVICE, full), operator_cost(shape, DEVICE, narrow))


@given(shapes, st.integers(8, 31), st.integers(0, 23), st.integers(0, 3))
def test_latency_never_falls_with_more_bits(shape, bits: int, more_bits: int, more_bytes: int) -> None:
    class Narrow(MaskedVariant):
        wires = Wires(conv_input=1, act_input=1, domain_bits=bits)

    class Wide(MaskedVariant):
        wires = Wires(conv_input=1 + more_bytes, act_input=1 + more_bytes, domain_bits=bits + more_bits)

    assert is_no_cheaper(operator_cost(shape, DEVICE, Wide()), operator_cost(shape, DEVICE, Narrow()))


# --- batches


@given(shapes, protocols, st.integers(1, 9))
def test_a_batch_costs_at_most_as_much_as_its_images_apart(shape, protocol, batch) -> None:
    one, many = operator_cost(shape, DEVICE, protocol), operator_cost(shape, DEVICE, protocol, batch)
    assert many.latency_ms <= batch * one.latency_ms * (1 + 1e-12)
    assert many.rounds == one.rounds
    assert many.comparisons == batch * one.comparisons
    assert all(many.bytes_sent[party] <= batch * one.bytes_sent[party] for party in (0, 1))
    assert is_no_cheaper(many, one)


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_without_images_is_refused(batch: int) -> None:
    with pytest.raises(Refusal, match="batch"):
        priced(Relu(1), batch=batch)


# --- kernels


@given(convolutions())
def test_groups_starve_the_array_never_below_depthwise_nor_above_dense(shape) -> None:
    rate = array_rate(shape, DEVICE)
    assert DEVICE.depthwise_multiplications_per_cycle <= rate <= DEVICE.array_multiplications_per_cycle
    assert array_rate(replace(shape, groups=1), DEVICE) == DEVICE.array_multiplications_per_cycle


def test_depthwise_runs_at_its_own_rate_and_pointwise_at_the_dense_one() -> None:
    depthwise = Conv(32, 8, 8, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=32, groups=32)
    pointwise = Conv(32, 8, 8, (1, 1), out_channels=64)
    assert array_rate(depthwise, DEVICE) == DEVICE.depthwise_multiplications_per_cycle
    assert array_rate(pointwise, DEVICE) == DEVICE.array_multiplications_per_cycle


@given(shapes)
def test_every_step_of_the_executed_protocol_has_a_price(shape) -> None:
    for primitive in get_costs("beaver-ot").primitives(shape):
        for step in beaver_ot_steps(primitive):
            assert not isinstance(step, Work) or step.kernel == "array" or (step.kernel, step.step) in WORD_OPERATIONS


def test_every_protocol_prices_every_shape() -> None:
    for name in protocol_names():
        for shape in (Relu(1), Relu6(1), X2act(1), Square(1), Truncate(1), Add(1), Affine(1), Linear(1, 1)):
            free = name == "paper" and isinstance(shape, Truncate)  # Fig. 3 counts it with the product
            assert (priced(shape, name).latency_ms > 0) is not free, (name, shape)
