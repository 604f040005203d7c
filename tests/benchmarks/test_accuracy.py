"""The queue of trainings: it goes on where it stopped, shares its runs among processes, and compares like with like."""

from __future__ import annotations

import json
from pathlib import Path

import accuracy
import accuracy_plan
import pytest
import torch
from accuracy_plan import Run

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset

SMALL = {"precision": "float32", "channels_last": False, "batch_size": 16}
TEACHER = Run("tiny/seed0/teacher", "resnet8", 0.125, "relu", 1, training=SMALL)
STUDENT = Run("tiny/seed0/x2act", "resnet8", 0.125, "x2act", 1, start=TEACHER.key, training=SMALL)
CONTROL = Run("tiny/seed0/control", "resnet8", 0.125, "relu", 1, start=TEACHER.key, training=SMALL)
HELD_OUT = Run("held-out/teacher", "resnet8", 0.125, "relu", 1, training=SMALL)


def bench(cache: Path) -> accuracy.Bench:
    data = DataOptions("synthetic", image_size=16, train_images=64, test_images=20, cache_dir=str(cache / "images"))
    return accuracy.Bench(cache, load_dataset(data), held_out=12)


def test_queue_trains_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    queue, output = [STUDENT, TEACHER, CONTROL, HELD_OUT], tmp_path / "rows.json"
    accuracy.work(bench(tmp_path), queue, output)
    rows = {row["key"]: row for row in json.loads(output.read_text())["runs"]}
    assert set(rows) == {run.key for run in queue}
    assert {key: row["images"] for key, row in rows.items()} == {run.key: 20 for run in queue} | {HELD_OUT.key: 12}
    before = {run.key: (tmp_path / run.key / accuracy.WEIGHTS).stat().st_mtime_ns for run in queue}
    accuracy.work(bench(tmp_path), queue, output)
    assert before == {run.key: (tmp_path / run.key / accuracy.WEIGHTS).stat().st_mtime_ns for run in queue}
    teacher, student = (torch.load(tmp_path / run.key / accuracy.WEIGHTS) for run in (TEACHER, STUDENT))
    assert "stem.act.a2" in student
    assert "stem.act.a2" not in teacher
    assert "1 + 1 epochs | 0 |" in accuracy.table(list(rows.values()))


def test_rows_of_other_runs_stay_in_the_file(tmp_path: Path) -> None:
    output = tmp_path / "rows.json"
    for runs in ([TEACHER], [STUDENT], [STUDENT]):
        accuracy.work(bench(tmp_path), runs if runs[0].start is None else [TEACHER, *runs], None)
        accuracy.report(tmp_path, runs, output)
    assert [row["key"] for row in json.loads(output.read_text())["runs"]] == [TEACHER.key, STUDENT.key]


def test_a_run_in_other_hands_is_left_to_them(tmp_path: Path) -> None:
    with accuracy.claimed(tmp_path / TEACHER.key) as first, accuracy.claimed(tmp_path / TEACHER.key) as second:
        assert (first, second) == (True, False)
        accuracy.work(bench(tmp_path), [TEACHER], None)
    assert not (tmp_path / TEACHER.key / accuracy.ROW).exists()


def test_a_row_of_other_settings_ends_the_program(tmp_path: Path) -> None:
    (tmp_path / TEACHER.key).mkdir(parents=True)
    write_whole_json(tmp_path / TEACHER.key / accuracy.ROW, {"key": TEACHER.key, "backbone": "vgg16"})
    with pytest.raises(SystemExit, match="backbone 'vgg16', not 'resnet8'"):
        accuracy.read_row(tmp_path, TEACHER)


def test_every_comparison_of_the_plan_has_equal_epochs_and_the_same_teacher() -> None:
    runs = {run.key: run for run in accuracy_plan.plan()}
    assert len(runs) == len(accuracy_plan.plan())
    for run in runs.values():
        if run.start is not None:
            teacher = runs[run.start]
            assert (teacher.kind, teacher.backbone, teacher.width, teacher.seed) == (
                "relu", run.backbone, run.width, run.seed,
            )  # fmt: skip
            assert run.held_out == teacher.held_out
    families = {run.key.rsplit("/", 1)[0] for run in runs.values() if run.kind == "x2act" and not run.held_out}
    for name in families:
        control, polynomial = runs[f"{name}/control"], runs[f"{name}/x2act"]
        assert control.start == polynomial.start
        assert control.epochs == polynomial.epochs
        assert control.kind == "relu"
