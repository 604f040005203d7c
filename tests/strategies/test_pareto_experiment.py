"""ParetoTuner at work: real searches under it, and inside of NNI an experiment stopped in the middle and resumed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rrnet_nni import pipeline
from rrnet_nni.nni_manager import Experiment, Trial, resume_experiment, start_experiment, wait
from rrnet_nni.strategies import ParetoTuner
from rrnet_nni.strategies.pareto_front import Point, pareto_front
from rrnet_nni.task import load_task

ROOT = Path(__file__).parents[2]
META = ROOT / "strategies" / "pareto_tuner.yml"
FORMULA = """
import nni
weight = float(nni.get_next_parameter()["latency_weight"])
jump = float(weight > 0.2)
nni.report_final_result({"default": 0.95 - 0.1 * jump - 0.01 * weight, "latency_ms": 10 - 6 * jump - weight})
"""
# Polynomials that stay linear, as SNL's identity does, few channels and digits of 6 pixels, so that every ReLU is worth
# something; boards so near to each other that a gate's price is its comparisons and not its messages: such a space has
# a long front. Training goes on until what a ReLU is worth stands out of the noise.
TASK: dict[str, Any] = {
    "backbone": "resnet8",
    "space": {"width": 0.125, "x2act_w1": 0.0001, "stem": "plain"},
    "data": {"name": "digits", "image_size": 6, "test_images": 100},
    "search": {"epochs": 5, "warmup_epochs": 2, "alpha_learning_rate": 0.2},
    "training": {"epochs": 30, "batch_size": 32, "x2act_factor": 0.0},
    "validation_fraction": 0.4,
    "calibration_images": 64,
    "hardware": {"device": "near.yaml"},
}


@dataclass(frozen=True)
class Plan:
    """An experiment: what a trial runs, how many there are, and after how many it is stopped."""

    command: str
    low: float
    high: float
    spread: int
    trials: int
    stop_after: int
    timeout_s: float


def _write_task(folder: Path, **changes: Any) -> Path:
    device = (ROOT / "fpga" / "devices" / "zcu104.yaml").read_text()
    assert "message_latency_s: {value: 4.947e-5" in device
    near = device.replace("message_latency_s: {value: 4.947e-5", "message_latency_s: {value: 2.0e-7")
    (folder / "near.yaml").write_text(near.replace("name: zcu104\n", "name: near\n"))
    (folder / "task.yml").write_text(yaml.safe_dump({**TASK, **changes}))
    return folder / "task.yml"


def _finished(trials: list[Trial]) -> list[Point]:
    return [
        Point(trial.final["default"], trial.final["latency_ms"], float(trial.parameters["latency_weight"]))
        for trial in trials
        if trial.final
    ]


def _distinct(points: list[Point]) -> set[tuple[float, float]]:
    return {(point.accuracy, point.latency_ms) for point in pareto_front(points)}


def _stopped_and_resumed(plan: Plan, folder: Path) -> list[Point]:
    """Points of an experiment that `nnictl` created, stopped in the middle and resumed to its end."""
    register = [sys.executable, "-m", "nni.tools.nnictl.nnictl", "algo", "register", "--meta", str(META)]
    subprocess.run(register, check=True, capture_output=True)
    configuration = {
        "experimentName": "front",
        "trialCommand": plan.command,
        "trialCodeDirectory": str(folder),
        "experimentWorkingDirectory": str(folder / "runs"),
        "trialConcurrency": 1,
        "maxTrialNumber": plan.trials,
        "searchSpace": {"latency_weight": {"_type": "loguniform", "_value": [plan.low, plan.high]}},
        "tuner": {"name": "ParetoTuner", "classArgs": {"spread": plan.spread}},
        "trainingService": {"platform": "local"},
    }
    (folder / "experiment.yml").write_text(yaml.safe_dump(configuration))
    experiment: Experiment = start_experiment(folder / "experiment.yml", folder / "runs")
    try:
        deadline = time.monotonic() + plan.timeout_s
        while len(_finished(experiment.trials())) < plan.stop_after:
            assert time.monotonic() < deadline, f"{plan.stop_after} trials did not end in time"
            time.sleep(1.0)
    finally:
        experiment.stop()
    resumed = resume_experiment(experiment.id, folder / "runs")
    try:
        points = _finished(wait(resumed, lambda trials: None, timeout_s=plan.timeout_s))
    finally:
        resumed.stop()
    weights = [point.latency_weight for point in points]
    assert len(set(weights)) == len(weights), "no λ was tried twice"
    return points


def test_real_searches_under_a_tuner_that_is_resumed_draw_a_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tuner and the trial's own steps in one process, with the smallest searches there are."""
    torch.set_num_threads(1)
    monkeypatch.setattr(ParetoTuner, "get_checkpoint_path", lambda self: str(tmp_path / "tuner"))
    small = {"search": {"epochs": 2, "warmup_epochs": 1, "alpha_learning_rate": 0.5}}
    bench = pipeline.prepare(load_task(_write_task(tmp_path, **small, training={"epochs": 2})))
    history: list[dict[str, Any]] = []
    tuner = ParetoTuner(low=1.0, high=300.0, spread=3)
    for number in range(5):
        if number == 3:
            tuner = ParetoTuner(low=1.0, high=300.0, spread=3)
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
    assert {(p.accuracy, p.latency_ms) for p in tuner.front} == _distinct(points)


@pytest.mark.experiment
@pytest.mark.slow
def test_an_experiment_stopped_and_resumed_fills_the_gap_of_its_front(tmp_path: Path) -> None:
    """Trials that answer from a formula: this is about the tuner and the manager."""
    (tmp_path / "trial.py").write_text(FORMULA)
    plan = Plan(f"{sys.executable} trial.py", 0.01, 1.0, spread=3, trials=8, stop_after=4, timeout_s=400)
    points = _stopped_and_resumed(plan, tmp_path)
    assert len(_distinct(points)) >= 5
    weights = sorted(point.latency_weight for point in points)
    ends = [(a, b) for a, b in itertools.pairwise(weights) if a <= 0.2 < b]
    assert ends[0][1] / ends[0][0] < 2.0, "after the resume the gap around the jump was filled further"


@pytest.mark.xfail(
    raises=AssertionError,
    reason="2 points in 5 trials, and 3 of 14 on digits of 8 pixels, not 5: on digits, fewer ReLUs are as accurate",
)
@pytest.mark.experiment
@pytest.mark.slow
@pytest.mark.timeout(2700)
def test_an_experiment_of_real_searches_stopped_and_resumed_ends_with_a_front(tmp_path: Path) -> None:
    _write_task(tmp_path)
    plan = Plan("rrnet trial --task task.yml", 0.15, 12.0, spread=6, trials=12, stop_after=4, timeout_s=2400)
    points = _stopped_and_resumed(plan, tmp_path)
    assert len(points) == plan.trials
    assert len(_distinct(points)) >= 5, sorted(points, key=lambda point: point.latency_ms)
