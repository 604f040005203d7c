"""The page on the performance model says what the model says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paper_networks import paper_network

from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.devices import device_names, load_device
from rrnet_nni.fpga.protocols import get_costs, protocol_names

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "performance-model.md").read_text(encoding="utf-8")


def latency_rows() -> list[list[str]]:
    """Rows of the table under "Where replacing ReLU pays": protocol, all-ReLU, all-X2act, speed-up, rounds, ..."""
    section = PAGE.split("## Where replacing ReLU pays")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]
    return [[cell.strip("`") for cell in row] for row in rows]


@pytest.mark.parametrize("row", latency_rows(), ids=lambda row: row[0])
def test_the_latencies_of_resnet18_are_the_models(row: list[str]) -> None:
    name, relu_ms, poly_ms, speed_up, rounds, sent_mb, _ = row
    totals = [
        network_cost(paper_network("resnet18", polynomial), load_device("zcu104"), get_costs(name)).total
        for polynomial in (False, True)
    ]
    assert [f"{total.latency_ms:.1f}" for total in totals] == [relu_ms, poly_ms]
    ratio = totals[0].latency_ms / totals[1].latency_ms
    assert speed_up in (f"{ratio:.0f}x", f"{ratio:.1f}x")
    assert " / ".join(str(total.rounds) for total in totals) == rounds
    assert " / ".join(f"{sum(total.bytes_sent) / 1e6:.1f}" for total in totals) == sent_mb


def test_every_protocol_and_device_is_on_the_page() -> None:
    assert len(latency_rows()) == 5
    for name in (*protocol_names(), *device_names()):
        assert f"`{name}`" in PAGE, name


def test_the_pages_constants_are_those_of_the_device_file() -> None:
    device = load_device("zcu104")
    for value in (
        f"{device.array_multiplications_per_cycle:g} ring multiplications",
        f"{device.depthwise_multiplications_per_cycle:g} ring multiplications",
        f"{device.comparator_operations_per_cycle:g} operations per cycle",
        f"{1e6 * device.message_latency_s:.1f} µs",
    ):
        assert value in PAGE, value


@pytest.mark.slow
def test_the_figures_are_made_by_their_script(tmp_path: Path) -> None:
    script = DOCS / "figures" / "performance_model.py"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=500, env=environment)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["bottleneck_map.png", "latency_parts.png", "paper_latencies.png"]
    assert all(f"figures/{name}" in PAGE and (DOCS / "figures" / name).exists() for name in made)
