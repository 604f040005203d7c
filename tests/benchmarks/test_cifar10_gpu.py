"""The GPU benchmark in its small form, on the CPU: everything but the size is what a GPU would run."""

from __future__ import annotations

import json
from pathlib import Path

import cifar10_gpu
import pytest
import torch


def test_tiny_form_trains_searches_draws_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cifar10_gpu.main(["--tiny", "--budget-minutes", "0", "-o", str(tmp_path)])
    assert "the budget is spent" in capsys.readouterr().out
    cifar10_gpu.main(["--tiny", "-o", str(tmp_path)])
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [run["key"] for run in runs[:4]] == [
        f"full/seed0/{name}" for name in ("teacher", "x2act", "control", "relu+avgpool")
    ]
    assert [run["latency_weight"] for run in runs[4:]] == list(cifar10_gpu.LATENCY_WEIGHTS[:2])
    networks = {run["key"].split("/")[-1]: run for run in runs[:4]}
    assert networks["control"]["relus"] > networks["x2act"]["relus"] == 0
    latencies = [networks[name]["latency_ms"] for name in ("control", "relu+avgpool", "x2act")]
    assert latencies == sorted(latencies, reverse=True)
    for figure in ("accuracy_latency_ms.png", "accuracy_relus.png"):
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("weights.pt")}
    assert len(written) == 6
    cifar10_gpu.main(["--tiny", "-o", str(tmp_path)])
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("weights.pt")}
    assert json.loads((tmp_path / "results.json").read_text())["runs"] == runs


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present")
def test_without_a_gpu_the_full_form_says_so(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--tiny"):
        cifar10_gpu.main(["-o", str(tmp_path)])
