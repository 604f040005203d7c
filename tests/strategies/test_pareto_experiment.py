"""ParetoTuner inside of NNI: an experiment stopped in the middle and resumed ends with a front of distinct points.

The trials answer from a formula, so that the test is about the tuner and the manager and not about training.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from rrnet_nni.nni_manager import Experiment, resume_experiment, start_experiment, wait
from rrnet_nni.strategies.pareto_front import Point, pareto_front

META = Path(__file__).parents[2] / "strategies" / "pareto_tuner.yml"
TRIALS = 8
TRIAL = """
import nni
weight = float(nni.get_next_parameter()["latency_weight"])
jump = float(weight > 0.2)
nni.report_final_result({"default": 0.95 - 0.1 * jump - 0.01 * weight, "latency_ms": 10 - 6 * jump - weight})
"""


def _configuration(folder: Path) -> Path:
    (folder / "trial.py").write_text(TRIAL)
    configuration = {
        "experimentName": "front",
        "trialCommand": f"{sys.executable} trial.py",
        "trialCodeDirectory": str(folder),
        "experimentWorkingDirectory": str(folder / "runs"),
        "trialConcurrency": 1,
        "maxTrialNumber": TRIALS,
        "searchSpace": {"latency_weight": {"_type": "loguniform", "_value": [0.01, 1.0]}},
        "tuner": {"name": "ParetoTuner", "classArgs": {"spread": 3}},
        "trainingService": {"platform": "local"},
    }
    path = folder / "experiment.yml"
    path.write_text(yaml.safe_dump(configuration))
    return path


def _finished(experiment: Experiment) -> list[Point]:
    return [
        Point(trial.final["default"], trial.final["latency_ms"], float(trial.parameters["latency_weight"]))
        for trial in experiment.trials()
        if trial.final
    ]


@pytest.mark.experiment
@pytest.mark.slow
def test_an_experiment_stopped_and_resumed_ends_with_a_front(tmp_path: Path) -> None:
    register = [sys.executable, "-m", "nni.tools.nnictl.nnictl", "algo", "register", "--meta", str(META)]
    subprocess.run(register, check=True, capture_output=True)
    experiment = start_experiment(_configuration(tmp_path), tmp_path / "runs")
    try:
        deadline = time.monotonic() + 300
        while len(_finished(experiment)) < 4:
            assert time.monotonic() < deadline, "four trials did not end in five minutes"
            time.sleep(1.0)
    finally:
        experiment.stop()
    resumed = resume_experiment(experiment.id, tmp_path / "runs")
    try:
        wait(resumed, lambda trials: None, timeout_s=400)
        points = _finished(resumed)
    finally:
        resumed.stop()
    weights = sorted(point.latency_weight for point in points)
    assert len(set(weights)) == len(weights), "no λ was tried twice"
    assert len(pareto_front(points)) >= 5
    ends = [(a, b) for a, b in itertools.pairwise(weights) if a <= 0.2 < b]
    assert ends[0][1] / ends[0][0] < 2.0, "after the resume the gap around the jump was filled further"
