import json
from pathlib import Path

import pytest

from rrnet_nni.cli import main

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


def test_polynomial_network_is_tuned_from_relu_weights_and_distilled(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relu, polynomial = tmp_path / "relu", tmp_path / "polynomial"
    assert main(["train", "--task", task, "--activation", "relu", "-o", str(relu), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["comparisons"] == first["all_relu_comparisons"] > 0
    kind = ["--activation", "x2act", "--pooling", "avgpool"]
    start = ["--initial-weights", str(relu / "weights.pt"), "--teacher", str(relu)]
    assert main(["train", "--task", task, *kind, *start, "-o", str(polynomial), "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["relus"] == second["comparisons"] == 0
    assert second["latency_ms"] < first["latency_ms"]
    assert abs(second["fixed_point_accuracy"] - second["accuracy"]) <= 0.03
    assert second["accuracy"] > 0.3
    again = ["train", str(polynomial / "architecture.json"), "--task", task, "--epochs", "1"]
    assert main([*again, "-o", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name either an architecture.json or --activation"),
        (["missing.json"], "missing.json: there is no such file"),
        (["missing.json", "--activation", "relu"], "name either"),
        (["--activation", "relu", "--epochs", "0"], "epochs must be a positive whole number"),
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
