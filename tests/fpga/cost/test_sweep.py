"""Explanation, sweep and figures: where the time goes and where replacing comparisons pays."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.networks.paper_networks import paper_network
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.extras import refuses_without_libraries
from rrnet_nni.fpga.cost import build_lut
from rrnet_nni.fpga.cost.explain import bottleneck, polynomial_counterpart, savings
from rrnet_nni.fpga.cost.latency import OperatorCost
from rrnet_nni.fpga.cost.lut_table import diff_tables, draw_table, format_table, table_to_dict
from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.cost.sweep import Sweep, sweep
from rrnet_nni.fpga.cost.sweep_map import draw_sweeps
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import AvgPool, Conv, MaxPool, NamedOperator, Relu, X2act
from rrnet_nni.fpga.protocols import get_costs, protocol_names

DEVICE = load_device("zcu104")
RESNET18 = paper_network("resnet18", polynomial=False)
PNG = b"\x89PNG\r\n\x1a\n"


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(protocol_names()), st.floats(1e6, 1e11), st.floats(0, 1))
def test_the_map_agrees_with_pricing_the_network_on_each_network(
    name: str, bandwidth: float, round_trip: float
) -> None:
    protocol = get_costs(name)
    result = sweep(RESNET18, DEVICE, protocol, 1, np.array([bandwidth]), np.array([round_trip]))
    there = DEVICE.with_network(bandwidth, round_trip / 2)
    relu = network_cost(RESNET18, there, protocol).total.latency_ms
    poly = network_cost(paper_network("resnet18", polynomial=True), there, protocol).total.latency_ms
    assert result.latency_ms[0, 0] == pytest.approx(relu)
    assert result.speed_up[0, 0] == pytest.approx(relu / poly, rel=1e-6)
    assert result.saved_share[0, 0] == pytest.approx(1 - poly / relu, abs=1e-6)


def test_the_paper_is_in_the_corner_where_replacing_comparisons_pays_most() -> None:
    paper = sweep(RESNET18, DEVICE, get_costs("paper"))
    assert paper.speed_up.max() > 30
    assert paper.speed_up[-1, -1] < 2  # a round trip of a second: only the number of messages counts
    masked = sweep(RESNET18, DEVICE, get_costs("masked-onehot-narrow"))
    assert masked.speed_up.max() < 3


def test_bands_are_where_the_speed_up_is_two() -> None:
    grid = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    speed_up = np.array([[2.0, 2.5, 1.0, 1.9, 3.0], [1.0] * 5, [9.0] * 5])
    result = Sweep("any", grid, np.array([0.1, 0.2, 0.3]), speed_up, speed_up)
    assert [result.bottleneck_bands(row) for row in range(3)] == [[(1.0, 2.0), (5.0, 5.0)], [], [(1.0, 5.0)]]


def test_savings_are_what_the_replacement_saves_best_first() -> None:
    protocol = get_costs("paper")
    found = savings(RESNET18, DEVICE, protocol)
    assert [saving.saved_ms for saving in found] == sorted((saving.saved_ms for saving in found), reverse=True)
    before = network_cost(RESNET18, DEVICE, protocol).total.latency_ms
    for saving in (found[0], found[-1]):
        after = [NamedOperator(o.name, saving.replacement if o.name == saving.name else o.shape) for o in RESNET18]
        assert before - network_cost(after, DEVICE, protocol).total.latency_ms == pytest.approx(saving.saved_ms)
    assert savings(paper_network("resnet18", polynomial=True), DEVICE, protocol) == []


def test_a_maxpool_is_replaced_by_the_average_of_the_same_windows() -> None:
    pool = MaxPool(8, 9, 9, (3, 3), (2, 2), (1, 1, 1, 1))
    assert polynomial_counterpart(pool) == AvgPool(8, 9, 9, (3, 3), (2, 2), (1, 1, 1, 1))
    assert polynomial_counterpart(Conv(1, 1, 1, (1, 1))) is None


def test_the_bottleneck_is_named() -> None:
    assert "computation takes 70%" in bottleneck(OperatorCost(compute_ms=7, transfer_ms=2, message_ms=1))
    assert "latency takes 60%" in bottleneck(OperatorCost(compute_ms=2, transfer_ms=2, message_ms=6))


def test_figures_are_written_and_reproducible(tmp_path: Path) -> None:
    maps = [sweep(RESNET18, DEVICE, get_costs(name)) for name in ("paper",)]
    for name in ("one.png", "two.png"):
        draw_sweeps(maps, "resnet18", tmp_path / name)
    assert (tmp_path / "one.png").read_bytes()[:8] == PNG
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with pytest.raises(Refusal, match="nowhere"):
        draw_sweeps(maps, "resnet18", tmp_path / "nowhere" / "map.png")
    with pytest.raises(Refusal, match=r"map\.word"):
        draw_sweeps(maps, "resnet18", tmp_path / "map.word")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Refusal, match=r"rrnet-nni\[figures\]"):
        refuses_without_libraries(draw_sweeps)(
            [sweep(RESNET18, DEVICE, get_costs("paper"))], "resnet18", tmp_path / "map.png"
        )


CHOICES = {"act": {"relu": Relu(4096), "x2act": X2act(4096)}}
FIXED = [NamedOperator("conv", Conv(3, 16, 16, (3, 3), (1, 1), (1, 1, 1, 1), out_channels=16))]


def test_a_table_prints_every_entry_and_draws(tmp_path: Path) -> None:
    table = build_lut(CHOICES, FIXED, DEVICE, get_costs("paper"))
    lines = format_table(table).splitlines()
    assert [line.split()[:2] for line in lines[3:]] == [["act", "relu"], ["act", "x2act"], ["conv", "fixed"]]
    draw_table(table, tmp_path / "table.png")
    assert (tmp_path / "table.png").read_bytes()[:8] == PNG
    answer = table_to_dict(table)
    assert answer["choices"]["act"]["relu"]["latency_ms"] == table.entries["act"]["relu"].latency_ms
    assert answer["fixed_ms"] == table.fixed_ms


def test_the_difference_of_two_tables_shows_what_changed_and_nothing_else() -> None:
    paper = build_lut(CHOICES, FIXED, DEVICE, get_costs("paper"))
    assert diff_tables(paper, paper) == ""
    longer = build_lut({"act": {"relu": Relu(8192), "x2act": X2act(4096)}}, FIXED, DEVICE, get_costs("paper"))
    lines = diff_tables(paper, longer).splitlines()
    assert len(lines) == 2
    assert lines[1].split()[:2] == ["act", "relu"]
    fewer = build_lut({"act": {"relu": Relu(4096)}}, FIXED, DEVICE, get_costs("paper"))
    assert diff_tables(paper, fewer).splitlines()[1].split()[-2:] == ["-", "-"]
