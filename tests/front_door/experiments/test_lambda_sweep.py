"""A sweep over λ without NNI's manager: the tuner's λ, every one once, whatever is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.example_result import RESULT
from helpers.processes import environment_of

from rrnet_nni.architecture import Architecture
from rrnet_nni.base.errors import Refusal
from rrnet_nni.cli import main
from rrnet_nni.experiments.sweep import SWEEP_FILE, Sweep
from rrnet_nni.experiments.trials import Trial
from rrnet_nni.reports.placement import Placement, this_machine
from rrnet_nni.strategies import ParetoTuner

TASK = {"backbone": "resnet8"}
#: A search that takes `sleep` seconds: argv is λ and its folder. It fails as long as `fail` lies beside the sweep.
SEARCH = """
import json, sys, time
from pathlib import Path
weight, folder = float(sys.argv[1]), Path(sys.argv[2])
with (folder / "starts").open("a") as starts:
    starts.write("started\\n")
time.sleep(float((folder.parents[2] / "sleep").read_text()))
if (folder.parents[2] / "fail").exists() and weight < 0.05:
    sys.exit("no room")
answer = json.loads((folder.parents[2] / "result.json").read_text())
answer |= {"latency_weight": weight, "latency_ms": 3 - 2 * weight, "validation_accuracy": 0.95 - 0.1 * weight}
(folder / "result.json").write_text(json.dumps(answer))
"""


def command(weight: float, folder: Path) -> list[str]:
    return [sys.executable, "-c", SEARCH, repr(weight), str(folder)]


def sweep(folder: Path, sleep_s: float = 0.0, **changed: Any) -> Sweep:
    (folder / "sleep").write_text(str(sleep_s))
    (folder / "result.json").write_text(json.dumps(RESULT.to_dict()))
    return Sweep(folder / "sweep", **{"task": TASK, "low": 0.01, "high": 1.0, "command": command, **changed})


def weights(trials: Sequence[Trial]) -> list[float]:
    return [trial.parameters["latency_weight"] for trial in trials]


def starts(folder: Path) -> list[int]:
    return [len(path.read_text().splitlines()) for path in sorted(folder.glob("sweep/trials/*/starts"))]


def test_the_weights_are_those_of_the_tuner_and_a_sweep_that_goes_on_adds_to_them(tmp_path: Path) -> None:
    tuner = ParetoTuner(low=0.01, high=1.0)
    expected = [tuner.generate_parameters(number)["latency_weight"] for number in range(5)]
    first = sweep(tmp_path).run(3, 2, lambda trials: None)
    assert weights(first) == expected[:3]
    assert {trial.status for trial in first} == {"SUCCEEDED"}
    seen: list[list[str]] = []
    again = sweep(tmp_path).run(7, 2, lambda trials: seen.append([trial.status for trial in trials]))
    assert weights(again)[:5] == expected
    assert len(set(weights(again))) == 7, "the gaps of the front are filled with new ones"
    assert starts(tmp_path) == [1] * 7
    assert max(statuses.count("RUNNING") for statuses in seen) == 2


def test_a_search_that_failed_is_tried_again_when_the_sweep_goes_on(tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    ended = sweep(tmp_path).run(3, 1, lambda trials: None)
    assert [trial.status for trial in ended] == ["FAILED", "SUCCEEDED", "SUCCEEDED"]
    assert (tmp_path / "sweep/trials/0/trial.stderr").read_text().strip() == "no room"
    (tmp_path / "fail").unlink()
    again = sweep(tmp_path).run(3, 1, lambda trials: None)
    assert [trial.status for trial in again] == ["SUCCEEDED"] * 3
    assert weights(again) == weights(ended)
    assert starts(tmp_path) == [2, 1, 1]


def test_a_sweep_that_was_killed_waits_for_the_searches_that_outlived_it(tmp_path: Path) -> None:
    sweep(tmp_path, sleep_s=2.0)
    driver = "from pathlib import Path; from test_lambda_sweep import sweep; import sys; "
    driver += "sweep(Path(sys.argv[1]), 2.0).run(3, 2, lambda trials: None)"
    started = subprocess.Popen([sys.executable, "-c", driver, str(tmp_path)], env=environment_of(__file__))
    while len(starts(tmp_path)) < 2:
        assert started.poll() is None
        time.sleep(0.05)
    with pytest.raises(Refusal, match="another process works on this sweep"):
        sweep(tmp_path, sleep_s=2.0).run(3, 2, lambda trials: None)
    started.kill()
    started.wait()
    ended = sweep(tmp_path).run(3, 2, lambda trials: None)
    assert [trial.status for trial in ended] == ["SUCCEEDED"] * 3
    assert len(set(weights(ended))) == 3
    assert starts(tmp_path) == [1] * 3, "none was started beside one that still ran"


def test_a_report_takes_a_sweep_as_an_experiment_and_says_where_it_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for trial in sweep(tmp_path).run(2, 2, lambda trials: None):
        folder = tmp_path / "sweep" / "trials" / trial.id
        Architecture("resnet8", {}, {}).save(folder / "architecture.json")
        placement = Placement.load(folder)
        assert placement is not None
        assert placement.machine == this_machine()
        assert placement.starts == 1
    assert main(["report", str(tmp_path / "sweep"), "-o", str(tmp_path / "page")]) == 0
    assert this_machine() in capsys.readouterr().out
    assert this_machine() in (tmp_path / "page/report.html").read_text()
    assert this_machine() in (tmp_path / "page/trial-0.html").read_text()
    shown = json.loads((tmp_path / "page/report.json").read_text())
    assert [one["machine"] for one in shown["placements"]] == [this_machine()] * 2


@pytest.mark.parametrize("changed", [{"task": {"backbone": "vgg16"}}, {"low": 0.02}, {"high": 2.0}])
def test_a_sweep_of_something_else_is_left_alone(tmp_path: Path, changed: dict[str, Any]) -> None:
    sweep(tmp_path).run(1, 1, lambda trials: None)
    with pytest.raises(Refusal, match=f"holds a sweep with another {next(iter(changed))}"):
        sweep(tmp_path, **changed)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / SWEEP_FILE).write_text('{"task": {}}')
    with pytest.raises(Refusal, match=r"sweep\.json: not a sweep"):
        sweep(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--many", "0"], "--many and --workers must be at least 1"),
        (["--many", "2", "--workers", "0"], "must be at least 1, not 2 and 0"),
        (["--many", "2", "--weights", "1", "0.1"], "the smaller first, not 1 and 0.1"),
        (["--many", "2", "--weights", "0", "0.1"], "two numbers above 0"),
        (["--many", "2", "--latency-weight", "1"], "--latency-weight is for one search"),
        (["--many", "2", "--comparisons", "1"], "--comparisons is for one search"),
        (["--many", "2", "--search-only"], "--search-only is for one search"),
    ],
)
def test_what_no_sweep_can_be_is_refused(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "--task", "digits", "-o", str(tmp_path / "sweep"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_a_real_sweep_ends_with_a_chosen_network_that_two_parties_execute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {
        "backbone": "resnet8",
        "space": {"width": 0.125, "stem": "plain"},
        "data": {"name": "digits", "image_size": 6, "test_images": 100},
        "search": {"epochs": 2, "warmup_epochs": 1, "alpha_learning_rate": 0.5},
        "training": {"epochs": 2, "batch_size": 32},
        "calibration_images": 64,
    }
    (tmp_path / "task.yml").write_text(yaml.safe_dump(task))
    arguments = ["search", "--task", str(tmp_path / "task.yml"), "--many", "2", "-o", str(tmp_path / "sweep"), "--json"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [result["latency_weight"] for result in answer["results"]] == [0.003, 0.3]
    assert answer["same_class"] >= 0.95
    chosen = Path(answer["results"][answer["chosen"]]["model"])
    assert main(["report", str(tmp_path / "sweep"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"] == answer["results"]
    assert chosen.is_file()
    assert chosen.is_relative_to(tmp_path / "sweep" / "trials")
