import json
from pathlib import Path

import pytest

from rrnet_nni.cli import main
from rrnet_nni.pipeline import describe, prepare, train_architecture
from rrnet_nni.search_spaces import fixed_choices
from rrnet_nni.task import load_task

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
