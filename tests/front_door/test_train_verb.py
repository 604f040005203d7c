import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rrnet_nni.architecture import Architecture
from rrnet_nni.base.errors import Refusal
from rrnet_nni.cli import main
from rrnet_nni.pipeline import describe, priced_again, search_architecture, train_architecture
from rrnet_nni.search_spaces import fixed_choices
from rrnet_nni.task import load_task
from rrnet_nni.workbench import prepare

TASK = """\
backbone: resnet8
space: {width: 0.25}
data: {name: digits, train_images: 300, test_images: 100}
training: {epochs: 2, batch_size: 32}
calibration_images: 64
"""


@pytest.fixture
def task(tmp_path: Path) -> str:
    (tmp_path / "task.yml").write_text(TASK)
    return str(tmp_path / "task.yml")


@pytest.mark.slow
def test_polynomial_network_is_tuned_from_relu_weights_and_distilled(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = prepare(load_task(Path(task)))
    relu, polynomial = (
        describe(bench, fixed_choices("resnet8", bench.space, *kind))
        for kind in (("relu", "maxpool"), ("x2act", "avgpool"))
    )
    relu.save(tmp_path / "architecture.json")
    train_architecture(bench, relu, tmp_path)
    polynomial.save(tmp_path / "polynomial.json")
    start = ["--initial-weights", str(tmp_path / "weights.pt"), "--teacher", str(tmp_path)]
    arguments = ["train", str(tmp_path / "polynomial.json"), "--task", task, *start, "--epochs", "3", "--json"]
    assert main([*arguments, "-o", str(tmp_path / "tuned")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["relus"] == answer["comparisons"] == 0 < answer["all_relu_comparisons"]
    assert answer["latency_ms"] < relu.latency_ms
    assert abs(answer["fixed_point_accuracy"] - answer["accuracy"]) <= 0.03
    assert answer["accuracy"] > 0.3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name either an architecture.json or --activation"),
        (["missing.json"], "missing.json: there is no such file"),
        (["missing.json", "--activation", "relu"], "name either"),
        (["--activation", "relu", "--epochs", "0"], "epochs must be at least 1"),
        (["--activation", "relu", "--initial-weights", "missing.pt"], "missing.pt: there is no such file"),
        (["--activation", "relu", "--teacher", "missing"], "missing/architecture.json: there is no such file"),
    ],
)
def test_impossible_requests_are_refused_in_one_sentence(
    arguments: list[str], words: str, task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--task", task, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


def test_damaged_weights_are_refused(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not weights")
    arguments = ["train", "--activation", "relu", "--initial-weights", str(broken), "--task", task]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 2
    assert f"{broken}: not a file of weights" in capsys.readouterr().err
    torch.save({"epoch": 3}, broken)
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 2
    assert f"{broken}: not a file of weights" in capsys.readouterr().err


def test_a_folder_with_another_training_is_left_as_it_was(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    bench = prepare(load_task(Path(task)))
    train_architecture(bench, describe(bench, fixed_choices("resnet8", bench.space)), run)
    arguments = ["train", "--task", task, "-o", str(run), "--activation", "relu", "--pooling"]
    kept = (run / "architecture.json").read_bytes()
    (run / "other").mkdir()
    for name in ("architecture.json", "weights.pt"):
        (run / "other" / name).write_bytes((run / name).read_bytes())
    capsys.readouterr()
    for changed, words in (
        ([*arguments, "avgpool"], "choices.stem.pool 'maxpool', not 'avgpool'"),
        ([*arguments, "maxpool", "--initial-weights", str(run / "other" / "weights.pt")], "initial weights None"),
        ([*arguments, "maxpool", "--teacher", str(run / "other")], "teacher None"),
        ([*arguments, "maxpool", "--seed", "1"], "training images"),
    ):
        assert main(changed) == 2
        assert words in capsys.readouterr().err
        assert (run / "architecture.json").read_bytes() == kept
    train_architecture(bench, describe(bench, fixed_choices("resnet8", bench.space)), run)


def test_a_search_that_finds_another_network_begins_its_training_anew(task: str, tmp_path: Path) -> None:
    bench = prepare(load_task(Path(task)))
    search = replace(bench.task.search, strategy="random", candidates=1, candidate_epochs=1)
    bench = replace(bench, task=replace(bench.task, search=search))
    found = search_architecture(bench, 0.1, tmp_path)
    for trained_before, goes_on in ((found, True), (replace(found, choices={}), False)):
        trained_before.save(tmp_path / "architecture.json")
        (tmp_path / "training.ckpt").touch()
        assert search_architecture(bench, 0.1, tmp_path) == found
        assert (tmp_path / "training.ckpt").exists() == goes_on


def test_an_architecture_from_elsewhere_is_priced_for_the_tasks_hardware(task: str) -> None:
    bench = prepare(load_task(Path(task)))
    here = describe(bench, fixed_choices("resnet8", bench.space))
    elsewhere = replace(
        here, device="zcu104-wan", latency_ms=99.0, expected_latency_ms=98.0, latency_weight=0.1, seed=5
    )
    assert priced_again(bench, elsewhere) == replace(here, latency_weight=0.1, seed=5)
    by_hand = replace(here, device=None, protocol=None, latency_ms=None, relus=None, comparisons=None)
    assert priced_again(bench, by_hand) == here
    assert priced_again(bench, replace(here, expected_latency_ms=3.5)).expected_latency_ms == 3.5
    with pytest.raises(Refusal, match="no choice for stem"):
        priced_again(bench, replace(here, choices={}))


def test_an_architecture_of_other_images_is_refused(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "architecture.json"
    Architecture("resnet8", {}, {}).save(path)
    assert main(["train", str(path), "--task", task, "-o", str(tmp_path / "out")]) == 2
    assert f"{path} has image_size 32, the task's images have 16" in capsys.readouterr().err


def test_networks_of_a_task_with_a_teacher_share_it_and_start_from_it(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RRNET_CACHE", str(tmp_path / "cache"))
    arguments = ["train", "--activation", "x2act", "--task", task, "--teacher-epochs", "1", "--epochs", "1"]
    errors = []
    for pooling in ("maxpool", "avgpool"):
        assert main([*arguments, "--pooling", pooling, "-o", str(tmp_path / pooling)]) == 0
        errors.append(capsys.readouterr().err.count("training epoch"))
    assert errors == [2, 1]
    settings = [json.loads((tmp_path / name / "training_settings.json").read_text()) for name in ("maxpool", "avgpool")]
    assert settings[0]["teacher"] == settings[1]["teacher"] == settings[0]["initial weights"] is not None
