"""A network that no fixed-point format fits ends with its result and advice, not with a compiler's refusal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.example_result import RESULT
from rich.console import Console

from rrnet_nni.architecture import Architecture
from rrnet_nni.cli.search import print_result
from rrnet_nni.experiments.finishing import finish
from rrnet_nni.experiments.nni_manager import Experiment
from rrnet_nni.experiments.trials import Trial
from rrnet_nni.pipeline import compile_exported, export_trained
from rrnet_nni.reports.results import Result, choose
from rrnet_nni.search_spaces import build_network, fixed_choices
from rrnet_nni.task import load_task
from rrnet_nni.workbench import prepare

TASK = """
backbone: resnet8
space: {width: 0.25}
data: {name: digits, train_images: 60, test_images: 20}
training: {epochs: 1}
"""


def test_what_overflows_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "task.yml").write_text(TASK)
    bench = prepare(load_task(tmp_path / "task.yml"))
    network = build_network("resnet8", bench.space, fixed_choices("resnet8", bench.space, "relu", "avgpool")).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e9)
    model = export_trained(bench, network, tmp_path)
    fixed_point, makespan_ms, uncompiled = compile_exported(bench, model, tmp_path)
    assert fixed_point is None
    assert makespan_ms is None
    assert uncompiled is not None
    assert uncompiled.endswith("train longer than 1 epoch")
    assert not (tmp_path / "build").exists()


def uncompiled(**more: object) -> Result:
    lost = {"fixed_point_accuracy": None, "makespan_ms": None, "build": None, "uncompiled": "train longer"}
    return replace(RESULT, **lost, **more)  # type: ignore[arg-type]


def test_a_result_without_a_build_is_kept_and_printed_with_its_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uncompiled().save(tmp_path)
    again = Result.load(tmp_path)
    assert (again.build, again.uncompiled) == (None, "train longer")
    print_result(uncompiled())
    printed = capsys.readouterr()
    assert "under 2PC" not in printed.out
    assert "build" not in printed.out
    assert printed.err == "warning: there is no build: train longer\n"


def test_an_experiment_whose_networks_all_overflow_ends_with_its_page_and_advice(tmp_path: Path) -> None:
    experiment, trial = Experiment("abc", 1, tmp_path / "abc"), Trial("t0", 0, "SUCCEEDED", {})
    folder = experiment.trial_directory(trial)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"")
    Architecture("resnet8", options={}, choices={"stem.act": "x2act"}).save(folder / "architecture.json")
    files = {"model": str(folder / "model.onnx"), "architecture": str(folder / "architecture.json")}
    uncompiled(**files).save(folder)
    console = Console(file=io.StringIO(), width=200)
    answer = finish(experiment, [trial], tmp_path / "result", 10, console)
    assert answer["uncompiled"] == "train longer"
    assert Path(answer["report"]).is_file()
    assert "no network could be compiled, and so none executed: train longer" in console.file.getvalue()


def test_a_network_without_a_build_is_chosen_only_where_none_has_one() -> None:
    better, compiled = uncompiled(validation_accuracy=1.0), replace(RESULT, validation_accuracy=0.5)
    assert choose([better, compiled]) is compiled
    assert choose([better]) is better
