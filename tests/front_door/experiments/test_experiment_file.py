"""Typos and impossible settings of an experiment and its task are refused before a trial starts."""

from __future__ import annotations

import re
from collections import namedtuple
from pathlib import Path

import pytest
from helpers.processes import rrnet_in_a_new_process
from PIL import Image

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.experiments.experiment_file import NniExperiment, check_before_trials, read_experiment
from rrnet_nni.experiments.main_job import common_failure, give_up_when_doomed
from rrnet_nni.experiments.nni_manager import Experiment
from rrnet_nni.experiments.trials import Trial, last_error
from rrnet_nni.starting_files import experiment_named, packaged_text, write_starting_files

TASK = "backbone: resnet8\ndata: {name: digits}\ntraining: {epochs: 2}\nhardware: {device: zcu104}\n"
EXPERIMENT = """\
experimentName: small
trialCommand: OMP_NUM_THREADS=1 rrnet trial --task task.yml
trialCodeDirectory: .
experimentWorkingDirectory: runs
trialConcurrency: 2
maxTrialNumber: 2
searchSpace:
  latency_weight: {_type: loguniform, _value: [0.01, 1.0]}
tuner: {name: ParetoTuner}
trainingService: {platform: local}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    (tmp_path / "task.yml").write_text(TASK)
    (tmp_path / "experiment.yml").write_text(EXPERIMENT)
    return tmp_path / "experiment.yml"


def test_what_is_right_is_read(experiment: Path) -> None:
    read = read_experiment(experiment)
    assert read.directory == experiment.parent / "runs"
    assert read.tuner == "ParetoTuner"
    assert read.task is not None
    assert read.task.name == "task"
    check_before_trials(read)
    assert not read.directory.exists()


@pytest.mark.parametrize(
    ("file", "written", "instead", "words"),
    [
        ("task.yml", "resnet8", "resnet9", r"task\.yml:1: backbone: unknown backbone 'resnet9'"),
        ("task.yml", "epochs: 2", "epoch: 2", r"task\.yml:3: unknown key 'training\.epoch'; did you mean 'epochs'"),
        ("task.yml", "digits", "digit", r"task\.yml:2: 'data\.name' must be one of digits, .* not 'digit'"),
        ("task.yml", "zcu104", "zcu105", "hardware.device"),
        ("task.yml", "epochs: 2", "epochs: two", r"task\.yml:3"),
        ("experiment.yml", "task.yml", "tusk.yml", r"experiment\.yml:2: .*tusk\.yml: there is no such file"),
        ("experiment.yml", "rrnet trial", "rrnet trail", "a trial is `rrnet trial`"),
        ("experiment.yml", "maxTrialNumber", "maxTrialNumbers", r":6: unknown key 'maxTrialNumbers'; did you mean"),
        (
            "experiment.yml",
            "trialConcurrency: 2",
            "trialConcurrency: two",
            ":5: 'trialConcurrency' must be a whole number, not 'two'",
        ),
        ("experiment.yml", "Directory: .", "Directory: src", ":3: trialCodeDirectory: .*src is not a folder"),
        ("experiment.yml", "trainingService: {platform: local}", "", "the key 'trainingService' is missing"),
        ("experiment.yml", "ParetoTuner", "ParetoTunr", "there is no tuner 'ParetoTunr'; did you mean 'ParetoTuner'?"),
        ("experiment.yml", "ParetoTuner", "TPEE", "there is no tuner 'TPEE'; did you mean 'TPE'?"),
        ("experiment.yml", "loguniform", "loguniforme", "latency_weight .*must be loguniform"),
        ("task.yml", "digits", "folder, root: pest", r"pest.* is not a folder"),
        ("task.yml", "digits", "cifar10, root: pest", "cifar10 is not under .*pest"),
    ],
)
def test_typos_are_refused_with_file_line_and_advice_before_anything_heavy_is_imported(
    experiment: Path, file: str, written: str, instead: str, words: str
) -> None:
    path = experiment.parent / file
    assert written in path.read_text()
    path.write_text(path.read_text().replace(written, instead, 1))
    ran = rrnet_in_a_new_process(["run", "experiment.yml"], experiment.parent)
    assert (ran.status, ran.heavy) == (2, [])
    assert re.search(words, ran.said), ran.said
    assert ran.said.count("\n") == 1
    assert not (experiment.parent / "runs").exists()


def test_a_trial_that_names_no_task_runs_the_one_of_the_package(experiment: Path) -> None:
    experiment.write_text(EXPERIMENT.replace(" --task task.yml", ""))
    task = read_experiment(experiment).task
    assert task is not None
    assert task.name == "digits"


def test_the_known_keys_are_those_of_nni(experiment: Path) -> None:
    from dataclasses import fields

    from nni.experiment.config import ExperimentConfig

    def camel(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    assert {camel(field.name) for field in fields(ExperimentConfig) if not field.name.startswith("_")} == {
        field.name for field in fields(NniExperiment)
    }


def test_pictures_that_are_none_are_named_before_a_trial_starts(experiment: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        path = experiment.parent / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    (experiment.parent / "pets/dog/2.png").write_bytes(b"")
    (experiment.parent / "task.yml").write_text("backbone: resnet8\ndata: {name: folder, root: pets}\n")
    with pytest.raises(Refusal, match=r"dog/2\.png cannot be decoded .*the file is empty.*leave_out"):
        check_before_trials(read_experiment(experiment))


def test_a_full_disk_is_noticed(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 10, 5 << 20))
    with pytest.raises(Refusal, match="has 5 MB free"):
        check_before_trials(read_experiment(experiment))


def trials(folder: Path, *ends: tuple[str, str]) -> tuple[Experiment, list[Trial]]:
    experiment = Experiment("abc", 1, folder)
    found = [Trial(f"t{index}", index, status, {}) for index, (status, _) in enumerate(ends)]
    for trial, (_, words) in zip(found, ends, strict=True):
        experiment.trial_directory(trial).mkdir(parents=True)
        (experiment.trial_directory(trial) / "trial.stderr").write_text(words)
    return experiment, found


def test_two_trials_that_fail_alike_end_the_experiment_with_their_words(tmp_path: Path) -> None:
    failing, found = trials(tmp_path / "a", ("FAILED", "noise\nno GPU\n"), ("FAILED", "no GPU\n\n"), ("WAITING", ""))
    assert last_error(failing.trial_directory(found[0])) == "no GPU"
    with pytest.raises(ExecutionFault, match="first 2 trials of experiment abc failed alike: no GPU"):
        give_up_when_doomed(failing, found)


@pytest.mark.parametrize(
    "ends",
    [
        [("FAILED", "no GPU")],
        [("FAILED", "no GPU"), ("FAILED", "disk full")],
        [("FAILED", "no GPU"), ("FAILED", "no GPU"), ("SUCCEEDED", "")],
        [("FAILED", ""), ("FAILED", "")],
    ],
)
def test_other_failures_let_it_go_on(tmp_path: Path, ends: list[tuple[str, str]]) -> None:
    experiment, found = trials(tmp_path, *ends)
    assert common_failure(experiment, found) is None
    give_up_when_doomed(experiment, found)


def test_the_task_of_the_package_is_written_once_and_is_a_valid_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = experiment_named(Path("digits"))
    assert experiment == Path("digits_experiment.yml")
    read = read_experiment(experiment)
    assert read.task is not None
    assert read.task.data.name == "digits"
    Path("digits.yml").write_text("backbone: resnet20\ndata: {name: digits}\n")
    again = read_experiment(experiment_named(Path("digits")))
    assert again.task is not None
    assert again.task.backbone == "resnet20"
    with pytest.raises(Refusal, match=r"digits\.yml already exists"):
        write_starting_files("digits", packaged_text("digits") or "", tmp_path)
