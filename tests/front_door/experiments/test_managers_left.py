"""NNI's managers, keepers and tuners end with what started them, whatever becomes of it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from rrnet_nni.base.errors import Refusal
from rrnet_nni.experiments import main_job, processes
from rrnet_nni.experiments.background import stop_job
from rrnet_nni.experiments.nni_manager import Experiment, resume_experiment, start_experiment
from rrnet_nni.experiments.tuners import register_tuner

#: Starts a process of its own, as a manager starts its tuner, and says when both stand.
PROGRAM = """
import signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
EXPERIMENT = """
trialCommand: sleep 600
trialCodeDirectory: .
experimentWorkingDirectory: runs
trialConcurrency: 2
maxTrialNumber: 2
searchSpace:
  latency_weight: {_type: loguniform, _value: [0.01, 1.0]}
tuner: {name: ParetoTuner}
trainingService: {platform: local}
"""
Start = Callable[..., psutil.Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process under the words that NNI gives its own; none outlives the test."""
    with ExitStack() as stack:

        def started(script: str, *words: str, **environment: str) -> psutil.Process:
            path = tmp_path / script
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PROGRAM)
            process = stack.enter_context(
                subprocess.Popen([sys.executable, str(path), *words], stdout=subprocess.PIPE, env=environment)
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            found = psutil.Process(process.pid)
            for one in (*found.children(), found):
                stack.callback(_kill, one)
            return found

        yield started


def _kill(process: psutil.Process) -> None:
    if process.is_running():
        process.kill()


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_manager_that_nnictl_has_not_on_its_list_ends_with_its_tuner(start: Start, tmp_path: Path) -> None:
    manager = start("nni_node/main.js", "--port", "1", "--experiment-id", "abcdefgh", "--action", "create")
    other = start("nni_node/main.js", "--port", "2", "--experiment-id", "ijklmnop", "--action", "create")
    (tuner,) = manager.children()
    Experiment("abcdefgh", 1, tmp_path / "abcdefgh").stop()
    assert has_ended(manager)
    assert has_ended(tuner)
    assert not has_ended(other)


def test_a_manager_that_does_not_end_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MANAGER_PATIENCE_S", 0.3)
    manager = start("nni_node/main.js", "--experiment-id", "abcdefgh", "stubborn")
    asked = time.monotonic()
    assert processes.end_managers("abcdefgh") == 1
    assert has_ended(manager)
    assert time.monotonic() - asked >= 0.3, "it was asked first"


def test_stop_says_whether_anything_was_left(start: Start, tmp_path: Path) -> None:
    (tmp_path / "abcdefgh" / "db").mkdir(parents=True)
    start("nni_node/main.js", "--experiment-id", "abcdefgh")
    assert stop_job("abcdefgh", tmp_path) == "experiment abcdefgh has no job that runs; what it left is stopped"
    assert stop_job("abcdefgh", tmp_path) == "experiment abcdefgh has no job that runs; nothing is left to stop"


def test_trials_that_outlive_a_killed_manager_end_before_they_start_again(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NNI starts an interrupted trial again in the folder that it had."""
    monkeypatch.setenv("HOME", str(tmp_path))  # nnictl's list is there: it knows no such experiment
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "abcdefgh" / "db").mkdir(parents=True)
    trials = tmp_path / "runs" / "abcdefgh" / "environments" / "local-env" / "trials"
    trial = start("trial.py", NNI_OUTPUT_DIR=str(trials / "t"))
    tuner = start("tuner.py", NNI_CHECKPOINT_DIRECTORY=str(tmp_path / "runs" / "abcdefgh" / "checkpoint"))
    manager = start("nni_node/main.js", "--experiment-id", "abcdefgh")
    with pytest.raises(Refusal, match="nnictl resume failed"):
        resume_experiment("abcdefgh", Path("runs"))
    assert not has_ended(trial), "its manager runs"
    assert not has_ended(tuner)
    manager.kill()
    manager.wait()
    with pytest.raises(Refusal, match="nnictl resume failed"):
        resume_experiment("abcdefgh", Path("runs"))
    assert has_ended(trial)
    assert has_ended(tuner)


def test_a_job_that_cannot_note_itself_leaves_no_manager(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a terminal that is gone before the first line."""
    (tmp_path / "experiment.yml").write_text(EXPERIMENT)
    manager = start("nni_node/main.js", "--experiment-id", "abcdefgh")
    gone = Experiment("abcdefgh", 1, tmp_path / "file" / "abcdefgh")
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(main_job, "start_experiment", lambda *_: gone)
    options = argparse.Namespace(experiment=tmp_path / "experiment.yml", resume=None, json=True, timeout=None, count=1)
    with pytest.raises((OSError, Refusal)):
        main_job.run(options)
    assert has_ended(manager)


def test_a_keeper_ends_what_an_earlier_one_of_its_folder_left(start: Start, tmp_path: Path) -> None:
    ours, others = tmp_path / "x" / "environments" / "a", tmp_path / "x" / "environments" / "b"
    left = [
        start("trial_keeper/main.js", str(ours / "keeper")),
        start("trial.py", NNI_OUTPUT_DIR=str(ours / "trials" / "t")),
    ]
    kept = [
        start("trial_keeper/main.js", str(others / "keeper")),
        start("trial.py", NNI_OUTPUT_DIR=str(others / "trials" / "t")),
        start("trial.py", str(ours)),
    ]
    trials_own = left[1].children()
    assert processes.end_leftovers(ours) == len(left) + len(trials_own)
    assert [has_ended(one) for one in (*left, *trials_own)] == [True] * 3
    assert [has_ended(one) for one in kept] == [False] * 3


@pytest.mark.experiment
@pytest.mark.slow
@pytest.mark.parametrize("what", ["deleted", "stopped", "killed and resumed"])
def test_nothing_of_a_real_experiment_runs_on_once_it_is(tmp_path: Path, what: str) -> None:
    register_tuner()
    (tmp_path / "experiment.yml").write_text(EXPERIMENT)
    experiment = start_experiment(tmp_path / "experiment.yml", tmp_path / "runs")
    try:
        while [trial.status for trial in experiment.trials()] != ["RUNNING"] * 2:
            time.sleep(0.5)
        (manager,) = processes.managers_of(experiment.id)
        left = [manager, *manager.children(recursive=True)]
        assert sum(one.name() == "sleep" for one in left) == 2
        if what == "deleted":
            shutil.rmtree(experiment.directory)
        elif what == "stopped":
            experiment.stop()
        else:
            manager.kill()
            psutil.wait_procs([manager])
            resume_experiment(experiment.id, tmp_path / "runs")
        _, alive = psutil.wait_procs(left, timeout=90)
        assert [(one.pid, one.status(), one.cmdline()) for one in alive] == []
    finally:
        experiment.stop()
