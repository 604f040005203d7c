"""Tiles that overlap: between the busiest resource and sequential time."""

from __future__ import annotations

import pytest
from helpers.operator_shapes import protocols, shapes
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.cost import operator_cost
from rrnet_nni.fpga.cost.pipeline import pipelined_ms
from rrnet_nni.fpga.cost.protocol import Compute, Exchange
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import (
    Relu,
)
from rrnet_nni.fpga.protocols import get_costs

DEVICE = load_device("zcu104")


@given(shapes, protocols, st.integers(1, 64))
def test_pipelined_time_lies_between_the_busiest_resource_and_sequential_time(shape, protocol, tiles) -> None:
    cost = operator_cost(shape, DEVICE, protocol)
    pipelined = pipelined_ms(shape, DEVICE, protocol, tiles=tiles)
    assert pipelined <= cost.latency_ms * (1 + 1e-12)
    assert pipelined >= cost.message_ms
    assert pipelined >= 1e3 * max(cost.bytes_sent) / DEVICE.bandwidth_bytes_per_s * (1 - 1e-12)


@given(shapes, protocols)
def test_one_tile_is_sequential(shape, protocol) -> None:
    assert pipelined_ms(shape, DEVICE, protocol, tiles=1) == pytest.approx(
        operator_cost(shape, DEVICE, protocol).latency_ms
    )


@given(st.floats(1e-3, 10), st.floats(1e-3, 10), st.integers(1, 50))
def test_pipelined_time_of_two_stages_is_the_flow_shop_makespan(compute_s: float, send_s: float, tiles: int) -> None:
    class TwoStages(type(get_costs("paper"))):
        def phases(self, shape, device, batch=1):
            return (Compute("alu", compute_s * device.clock_hz), Exchange((round(send_s * 1e9), 0)))

    sent = round(send_s * 1e9) / 1e9
    done = start = 0.0
    for _ in range(tiles):  # tile by tile: computed, then sent as soon as the link is free
        start += compute_s / tiles
        done = max(done, start) + sent / tiles
    device = DEVICE.with_network(1e9, 0.0)
    assert pipelined_ms(Relu(1), device, TwoStages(), tiles=tiles) == pytest.approx(1e3 * done)
