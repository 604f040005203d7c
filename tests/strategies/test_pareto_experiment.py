"""ParetoTuner at work: real searches under it, and inside of NNI an experiment stopped in the middle and resumed."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from front_experiment import EXPERIMENT, finished, point_of, prepare, stopped_and_resumed, summary

from rrnet_nni import pipeline, workbench
from rrnet_nni.strategies import ParetoTuner
from rrnet_nni.strategies.pareto_front import Point, pareto_front
from rrnet_nni.task import load_task

#: A folder with train/CLASS/* and test/CLASS/* of CIFAR-10.
IMAGES = os.environ.get("RRNET_CIFAR10")
FORMULA = """
import nni
weight = float(nni.get_next_parameter()["latency_weight"])
jump = float(weight > 0.2)
nni.report_final_result({"default": 0.95 - 0.1 * jump - 0.01 * weight, "latency_ms": 10 - 6 * jump - weight})
"""
SMALLEST: dict[str, Any] = {
    "backbone": "resnet8",
    "space": {"width": 0.125, "stem": "plain"},
    "data": {"name": "digits", "image_size": 6, "test_images": 100},
    "search": {"epochs": 2, "warmup_epochs": 1, "alpha_learning_rate": 0.5},
    "training": {"epochs": 2, "batch_size": 32},
    "calibration_images": 64,
}


def test_real_searches_under_a_tuner_that_is_resumed_draw_a_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tuner and the trial's own steps in one process, with the smallest searches there are."""
    torch.set_num_threads(1)
    monkeypatch.setattr(ParetoTuner, "get_checkpoint_path", lambda self: str(tmp_path / "tuner"))
    (tmp_path / "task.yml").write_text(yaml.safe_dump(SMALLEST))
    bench = workbench.prepare(load_task(tmp_path / "task.yml"))
    history: list[dict[str, Any]] = []
    tuner = ParetoTuner(low=0.01, high=3.0, spread=3)
    for number in range(5):
        if number == 3:
            tuner = ParetoTuner(low=0.01, high=3.0, spread=3)
            tuner.load_checkpoint()
            tuner.import_data(history)
        parameters = tuner.generate_parameters(number)
        found = pipeline.search_architecture(bench, parameters["latency_weight"], tmp_path / str(number))
        _, validation, _ = pipeline.train_architecture(bench, found, tmp_path / str(number))
        value = {"default": validation.accuracy, "latency_ms": found.latency_ms, **parameters}
        tuner.receive_trial_result(number, parameters, value)
        history.append({"parameter": json.dumps(parameters), "value": value})
    points = [Point(e["value"]["default"], e["value"]["latency_ms"], e["value"]["latency_weight"]) for e in history]
    assert len({point.latency_weight for point in points}) == 5
    assert len({point.latency_ms for point in points}) >= 2, "λ changed what the searches found"
    assert {(p.accuracy, p.latency_ms) for p in tuner.front} == {
        (point.accuracy, point.latency_ms) for point in pareto_front(points)
    }


@pytest.mark.experiment
@pytest.mark.slow
def test_an_experiment_stopped_and_resumed_fills_the_gap_of_its_front(tmp_path: Path) -> None:
    """Trials that answer from a formula: this is about the tuner and the manager."""
    (tmp_path / "trial.py").write_text(FORMULA)
    configuration = {
        "experimentName": "front",
        "trialCommand": f"{sys.executable} trial.py",
        "trialCodeDirectory": str(tmp_path),
        "experimentWorkingDirectory": str(tmp_path / "runs"),
        "trialConcurrency": 1,
        "maxTrialNumber": 8,
        "searchSpace": {"latency_weight": {"_type": "loguniform", "_value": [0.01, 1.0]}},
        "tuner": {"name": "ParetoTuner", "classArgs": {"spread": 3}},
        "trainingService": {"platform": "local"},
    }
    (tmp_path / "experiment.yml").write_text(yaml.safe_dump(configuration))
    trials = stopped_and_resumed(tmp_path / "experiment.yml", tmp_path / "runs", stop_after=4, timeout_s=400)
    weights = sorted(point_of(trial).latency_weight for trial in finished(trials))
    assert len(set(weights)) == 8, "no λ was tried twice"
    assert summary(trials)["front_points"] >= 5
    ends = [(a, b) for a, b in itertools.pairwise(weights) if a <= 0.2 < b]
    assert ends[0][1] / ends[0][0] < 2.0, "after the resume the gap around the jump was filled further"
    again = stopped_and_resumed(tmp_path / "experiment.yml", tmp_path / "runs", stop_after=4, timeout_s=400)
    assert [trial.id for trial in again] == [trial.id for trial in trials], "it went on with the one that was there"


@pytest.mark.skipif(IMAGES is None, reason="takes CIFAR-10 images from the folder that RRNET_CIFAR10 names")
@pytest.mark.experiment
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_an_experiment_of_real_searches_stopped_and_resumed_ends_with_a_front(tmp_path: Path) -> None:
    assert IMAGES is not None
    configuration = prepare(EXPERIMENT, tmp_path, Path(IMAGES))
    trials = stopped_and_resumed(configuration, tmp_path / "runs", stop_after=6, timeout_s=7000)
    assert len({point_of(trial).latency_weight for trial in finished(trials)}) == 16
    assert summary(trials)["front_points"] >= 5, [point_of(trial) for trial in finished(trials)]
