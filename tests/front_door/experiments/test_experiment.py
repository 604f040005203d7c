"""A real NNI experiment: `nnictl create`, trials that search and finish, metrics read back over the REST interface."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.cli import main
from rrnet_nni.experiments.experiment_file import check_before_trials, read_experiment
from rrnet_nni.experiments.finishing import finish
from rrnet_nni.experiments.nni_manager import Experiment, resume_experiment, start_experiment, wait
from rrnet_nni.experiments.trial import is_reported
from rrnet_nni.experiments.trials import Trial
from rrnet_nni.reports.results import Result

ROOT = Path(__file__).parents[3]
TASK = """
backbone: resnet8
space: {width: 0.5}
data: {name: digits, train_images: 400, test_images: 100}
search: {epochs: 3, warmup_epochs: 1}
training: {epochs: 2}
calibration_images: 64
"""
EXPERIMENT = """
experimentName: small
trialCommand: rrnet trial --task task.yml
trialCodeDirectory: .
experimentWorkingDirectory: runs
trialConcurrency: 2
maxTrialNumber: 2
searchSpace:
  latency_weight: {_type: loguniform, _value: [0.01, 1.0]}
tuner: {name: ParetoTuner}
trainingService: {platform: local}
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Experiment, list[Trial]]]:
    """An experiment of two small trials that has ended, its manager still up."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "task.yml").write_text(TASK)
    config = folder / "experiment.yml"
    config.write_text(EXPERIMENT)
    described = read_experiment(config)
    check_before_trials(described)
    running = start_experiment(config, described.directory)
    try:
        yield running, wait(running, lambda trials: None, timeout_s=400)
    finally:
        running.stop()


@pytest.mark.experiment
def test_every_trial_succeeds_at_its_own_latency_weight(experiment: tuple[Experiment, list[Trial]]) -> None:
    running, trials = experiment
    logs = [(running.trial_directory(trial) / "trial.log").read_text()[-2000:] for trial in trials]
    assert [trial.status for trial in trials] == ["SUCCEEDED"] * 2, logs
    assert sorted(trial.parameters["latency_weight"] for trial in trials) == pytest.approx([0.01, 1.0])


@pytest.mark.experiment
def test_the_manager_has_one_intermediate_result_per_epoch(experiment: tuple[Experiment, list[Trial]]) -> None:
    for trial in experiment[1]:
        searched, trained = trial.intermediate[:3], trial.intermediate[3:]
        assert len(trained) == 2
        assert all({"training_loss", "latency_ms", "comparisons"} <= set(epoch) for epoch in trained)
        assert trained[-1]["default"] == pytest.approx(trial.final["default"])
        for epoch in searched:
            assert 0.0 <= epoch["default"] <= 1.0
            assert epoch["expected_latency_ms"] > 0
            assert epoch["relus"] >= 0
            assert all(0.0 <= epoch[f"theta {gate}"] <= 1.0 for gate in ("stem.act relu", "stem.pool maxpool"))


@pytest.mark.experiment
def test_the_manager_has_the_final_metrics_of_every_trial(experiment: tuple[Experiment, list[Trial]]) -> None:
    running, trials = experiment
    for trial in trials:
        result = Result.load(running.trial_directory(trial))
        assert trial.final["default"] == pytest.approx(result.validation_accuracy)
        assert trial.final["test_accuracy"] == pytest.approx(result.accuracy)
        assert trial.final["fixed_point_test_accuracy"] == pytest.approx(result.fixed_point_accuracy)
        assert "accuracy" not in trial.final
        assert trial.final["latency_ms"] == pytest.approx(result.latency_ms)
        assert trial.final["comparisons"] == result.comparisons
        assert trial.final["latency_weight"] == pytest.approx(trial.parameters["latency_weight"])


@pytest.mark.experiment
def test_final_results_reach_the_tuner_under_their_own_parameters(experiment: tuple[Experiment, list[Trial]]) -> None:
    finals = [entry for entry in experiment[0].get("metric-data") if entry["type"] == "FINAL"]
    assert sorted(int(entry["parameterId"]) for entry in finals) == [0, 1]


@pytest.mark.experiment
def test_the_main_job_compiles_executes_and_reports_the_chosen_trial(
    experiment: tuple[Experiment, list[Trial]], tmp_path: Path
) -> None:
    running, trials = experiment
    printed = io.StringIO()
    answer = finish(running, trials, tmp_path / "result", 20, Console(file=printed, width=120))
    assert answer["same_class"] >= 0.95
    assert answer["worst_difference"] < 0.1
    execution = json.loads((tmp_path / "result" / "report.json").read_text())["execution"]
    assert execution["images"] == len(execution["difference_per_image"]) == 20
    assert execution["bytes_sent"] == execution["predicted_bytes"]
    assert {path.name for path in (tmp_path / "result").iterdir()} >= {"model.onnx", "build", "report.html"}
    assert "fixed point" in printed.getvalue()


@pytest.mark.experiment
def test_the_manager_listens_on_the_loopback_interface_only(experiment: tuple[Experiment, list[Trial]]) -> None:
    port = experiment[0].port
    listening = [
        connection.laddr.ip
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]
    assert listening == ["127.0.0.1"]
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


@pytest.mark.experiment
@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 2.0])
def test_a_job_that_is_ended_while_its_manager_starts_leaves_none_behind(tmp_path: Path, after_s: float) -> None:
    def processes(word: str) -> list[psutil.Process]:
        named = psutil.process_iter(["cmdline"])
        return [one for one in named if any(word in part for part in one.info["cmdline"] or ())]

    (tmp_path / "task.yml").write_text(TASK)
    (tmp_path / "experiment.yml").write_text(EXPERIMENT)
    command = [
        sys.executable,
        "-c",
        "from rrnet_nni.cli import main; raise SystemExit(main())",
        "run",
        str(tmp_path / "experiment.yml"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        while not [one for one in processes(str(tmp_path / "experiment.yml")) if one.pid != job.pid]:
            assert job.poll() is None
            time.sleep(0.1)
        time.sleep(after_s)
        job.terminate()
        assert job.wait(timeout=120) == 130
    psutil.wait_procs(processes(str(tmp_path)), timeout=30)
    assert processes(str(tmp_path)) == []


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 19, 30, 45, 200])
def test_a_training_is_reported_about_ten_times_and_at_its_end(epochs: int) -> None:
    reported = [epoch for epoch in range(1, epochs + 1) if is_reported(epoch, epochs)]
    assert reported[-1] == epochs
    assert min(epochs, 10) <= len(reported) <= 19


def test_a_missing_experiment_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"absent\.yml"):
        start_experiment(tmp_path / "absent.yml", tmp_path)
    with pytest.raises(Refusal, match=r"absent\.yml"):
        read_experiment(tmp_path / "absent.yml")


@pytest.mark.parametrize(
    ("written", "instead", "words"),
    [
        (
            "{name: ParetoTuner}",
            "{name: ParetoTuner, classArgs: {spread: 0}}",
            "tuner: ParetoTuner: classArgs: 'spread' must be at least 1, not 0",
        ),
        ("{name: ParetoTuner}", "{name: ParetoTuner, classArgs: {colour: 1}}", "unknown key 'colour'"),
        ("{name: ParetoTuner}", "{name: ParetoTuner, classArgs: 3}", "classArgs: it must be a mapping"),
        ("latency_weight:", "lr:", "searchSpace: ParetoTuner searches latency_weight alone"),
        ("[0.01, 1.0]", "[1.0, 0.01]", "low (1) must be less than high (0.01)"),
        ("[0.01, 1.0]", "3", "must be loguniform with _value [low, high]"),
        ("loguniform", "choice", "must be loguniform with _value [low, high]"),
        ("{_type: loguniform, _value: [0.01, 1.0]}", "3", "must be loguniform with _value [low, high]"),
    ],
)
def test_what_the_tuner_would_refuse_is_refused_before_an_experiment_starts(
    tmp_path: Path, written: str, instead: str, words: str
) -> None:
    config = tmp_path / "experiment.yml"
    assert written in EXPERIMENT
    config.write_text(EXPERIMENT.replace(written, instead))
    (tmp_path / "task.yml").write_text(TASK)
    with pytest.raises(Refusal) as caught:
        read_experiment(config)
    assert re.match(rf"{config}:\d+: (tuner|searchSpace): ParetoTuner", str(caught.value))
    assert words in str(caught.value)


def test_a_failed_experiment_says_what_its_tuner_said_last(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()

    class Failed(Experiment):
        def status(self) -> str:
            return "ERROR"

        def trials(self) -> list[Trial]:
            return []

    for log, words in (
        (
            'Traceback (most recent call last):\n  File "tuner.py"\nValueError: no more\n',
            "failed: ValueError: no more; ",
        ),
        ("[2026-01-01 00:00:00] INFO Dispatcher started\n", "failed; its logs are in"),
    ):
        (tmp_path / "log" / "dispatcher.log").write_text(log)
        with pytest.raises(ExecutionFault, match=f"experiment abc {words}"):
            wait(Failed("abc", 1, tmp_path), lambda trials: None)


def test_what_nnictl_refuses_is_refused_in_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "experiment.yml"
    config.write_text(EXPERIMENT.replace("trialConcurrency: 2", "trialConcurrency: -2"))
    with pytest.raises((Refusal, ExecutionFault), match="nnictl") as caught:
        start_experiment(config, tmp_path)
    assert "\n" not in str(caught.value)


def test_resuming_what_never_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="there is no experiment zzzzzzzz there"):
        resume_experiment("zzzzzzzz", tmp_path)


@pytest.mark.parametrize(
    ("option", "words"), [("--count=0", "--count must be at least 1"), ("--timeout=-1", "--timeout must be above 0")]
)
def test_impossible_numbers_are_refused_before_an_experiment_starts(
    tmp_path: Path, option: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment.yml").write_text(EXPERIMENT)
    assert main(["run", str(tmp_path / "experiment.yml"), option]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
