"""The pages on device files and costs say what the model says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rrnet_nni.fpga.devices import device_names, load_device
from rrnet_nni.fpga.protocols import protocol_names

DOCS = Path(__file__).parents[3] / "docs"
DEVICES, COSTS = (
    (DOCS / "reference" / name).read_text(encoding="utf-8") for name in ("device-files.md", "protocol-costs.md")
)


def test_every_protocol_and_device_is_on_its_page() -> None:
    for name in protocol_names():
        assert f"`{name}`" in COSTS, name
    for name in device_names():
        assert f"`{name}`" in DEVICES, name


def test_the_pages_constants_are_those_of_the_device_file() -> None:
    device = load_device("zcu104")
    for value in (
        f"{device.array_multiplications_per_cycle:g} ring multiplications",
        f"{device.depthwise_multiplications_per_cycle:g} ring multiplications",
        f"{device.comparator_operations_per_cycle:g} operations per cycle",
        f"{1e6 * device.message_latency_s:.1f} µs",
    ):
        assert value in DEVICES, value


@pytest.mark.slow
def test_the_figures_are_made_by_their_script(tmp_path: Path) -> None:
    script = DOCS / "figures" / "performance_model.py"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=500, env=environment)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["bottleneck_map.png", "latency_parts.png", "paper_latencies.png"]
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    assert all(f"figures/{name}" in pages and (DOCS / "figures" / name).exists() for name in made)
