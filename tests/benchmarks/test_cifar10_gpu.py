import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_tiny_form_trains_searches_and_draws(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "cifar10_gpu.py"
    subprocess.run([sys.executable, str(script), "--tiny", "-o", str(tmp_path)], check=True, capture_output=True)
    results = json.loads((tmp_path / "results.json").read_text())
    networks = {network["name"]: network for network in results["networks"]}
    assert list(networks)[:3] == ["relu", "relu+avgpool", "x2act"]
    assert sum(network["latency_weight"] is not None for network in networks.values()) == 2
    assert networks["relu"]["relus"] > networks["x2act"]["relus"] == 0
    assert networks["relu"]["latency_ms"] > networks["relu+avgpool"]["latency_ms"] > networks["x2act"]["latency_ms"]
    assert all(network["seed"] == 0 for network in networks.values())
    for figure in ("accuracy_latency_ms.png", "accuracy_relus.png"):
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
