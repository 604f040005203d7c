"""The GPU benchmark in its small form, on the CPU: everything but the size is what a GPU would run."""

import json
import runpy
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cifar10_gpu.py"


def test_tiny_form_trains_searches_and_draws(tmp_path: Path) -> None:
    runpy.run_path(str(SCRIPT))["main"](["--tiny", "-o", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text())
    networks = {network["name"]: network for network in results["networks"]}
    assert list(networks)[:3] == ["relu", "relu+avgpool", "x2act"]
    assert sum(network["latency_weight"] is not None for network in networks.values()) == 2
    assert networks["relu"]["relus"] > networks["x2act"]["relus"] == 0
    assert networks["relu"]["latency_ms"] > networks["relu+avgpool"]["latency_ms"] > networks["x2act"]["latency_ms"]
    assert all(network["seed"] == 0 for network in networks.values())
    for figure in ("accuracy_latency_ms.png", "accuracy_relus.png"):
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present")
def test_without_a_gpu_the_full_form_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--tiny"):
        runpy.run_path(str(SCRIPT))["main"](["-o", str(tmp_path)])
