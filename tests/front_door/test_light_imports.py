"""Help and refusals come before the libraries that take seconds to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from helpers.networks.small_onnx_models import mixed_model
from helpers.processes import rrnet_in_a_new_process

from rrnet_nni.search_spaces.names import OWN_BACKBONES
from rrnet_nni.search_spaces.registry import BACKBONES
from rrnet_nni.strategies.options import STRATEGY_NAMES
from rrnet_nni.strategies.registry import STRATEGIES


def test_the_names_that_are_known_without_libraries_are_those_that_exist() -> None:
    assert tuple(entry.name for entry in BACKBONES) == OWN_BACKBONES
    assert tuple(STRATEGIES) == STRATEGY_NAMES


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["search", "--task", "wrong.yml", "-o", "out"], 2),
        (["search", "--task", "task.yml", "--strategy", "luck", "-o", "out"], 2),
        (["search", "--task", "task.yml", "--latency-weight", "-1", "-o", "out"], 2),
        (["train", "missing.json", "--task", "task.yml", "-o", "out"], 2),
        (["trial", "--task", "wrong.yml"], 2),
        (["run", "experiment.yml"], 2),
    ],
)
def test_words_are_refused_before_anything_heavy_is_imported(tmp_path: Path, arguments: list[str], status: int) -> None:
    (tmp_path / "task.yml").write_text("backbone: resnet8\ndata: {name: digits}\n")
    (tmp_path / "wrong.yml").write_text("backbone: resnet9\ndata: {name: digits}\n")
    (tmp_path / "experiment.yml").write_text(
        "trialCommand: rrnet trial --task task.yml\ntrialConcurrency: 1\ntrainingService: {platform: local}\n"
        "tuner: {name: ParetoTuner}\nsearchSpace: {latency_weight: {_type: choice, _value: [1, 2]}}\n"
    )
    ran = rrnet_in_a_new_process(arguments, tmp_path)
    assert (ran.status, ran.heavy) == (status, []), ran.said


def test_the_chosen_network_is_executed_and_compared_without_torch(tmp_path: Path) -> None:
    """The main job would wait seconds for it at the end."""
    onnx.save(mixed_model(image_size=8), tmp_path / "model.onnx")
    script = (
        "import sys; from pathlib import Path; import numpy as np; from rrnet_nni.experiments import finishing\n"
        "logits = finishing.onnx_logits(Path('model.onnx'), np.zeros((2, 3, 8, 8)))\n"
        "print(len(logits), 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["2", "False"]
