"""Budgets of comparisons, chosen and fine-tuned: resumable, never exceeded, the same teacher for all."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import accuracy
import pytest
import relu_budgets
from accuracy_plan import Run
from relu_budgets import BudgetBench, BudgetRun

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.strategies import SearchOptions

SMALL = {"precision": "float32", "channels_last": False, "batch_size": 16}
TEACHER = Run("tiny/seed0/teacher", "resnet8", 0.125, "relu", 1, training=SMALL)
SLICES = BudgetRun("budgets/tiny/slices", TEACHER, "slices", share=0.3, epochs=1, time_of="budgets/tiny/rrnet")
RUNS = [
    SLICES,
    replace(SLICES, key="budgets/tiny/whole", space="whole", share=None, comparisons=2000, time_of=None),
    replace(SLICES, key="budgets/tiny/rrnet", strategy="rrnet", time_of=None),
]


def bench(cache: Path) -> BudgetBench:
    data = DataOptions("synthetic", image_size=16, train_images=64, test_images=20, cache_dir=str(cache / "images"))
    return BudgetBench(accuracy.Bench(cache, load_dataset(data), held_out=12), SearchOptions(epochs=2, warmup_epochs=1))


def test_the_queue_ends_within_every_budget_and_trains_nothing_twice(tmp_path: Path) -> None:
    output = tmp_path / "rows.json"
    accuracy.work(bench(tmp_path), RUNS, output)
    rows = {row["key"]: row for row in json.loads(output.read_text())["runs"]}
    assert set(rows) == {run.key for run in RUNS}
    assert all(row["comparisons_made"] <= row["target"] for row in rows.values())
    assert rows["budgets/tiny/whole"]["target"] == 2000
    assert rows[SLICES.key]["target"] == int(0.3 * rows[SLICES.key]["all_relu_comparisons"])
    assert rows[SLICES.key]["tuned_epochs"] >= rows["budgets/tiny/rrnet"]["tuned_epochs"]
    assert any(label.endswith(".g3") for label in rows[SLICES.key]["choices"])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    accuracy.work(bench(tmp_path), RUNS, output)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    assert "| resnet8, width 0.125 | 2,000 | whole | knapsack |" in relu_budgets.table(list(rows.values()))


def test_a_row_of_other_settings_ends_the_program(tmp_path: Path) -> None:
    row = {**asdict(SLICES), "share": 0.5}
    write_whole_json(tmp_path / SLICES.key / accuracy.ROW, row)
    with pytest.raises(SystemExit, match=r"is of share 0\.5, not 0\.3: move it away"):
        accuracy.work(bench(tmp_path), RUNS, None)


def test_a_run_whose_time_is_another_s_is_not_left_out_in_silence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="comes after budgets/tiny/rrnet, which is not trained: let --only take both"):
        accuracy.work(bench(tmp_path), [SLICES], None)


def test_a_teacher_in_other_hands_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waited(Exception):
        pass

    def wait(seconds: float) -> None:
        raise Waited

    monkeypatch.setattr(accuracy.time, "sleep", wait)
    with accuracy.claimed(tmp_path / TEACHER.key), pytest.raises(Waited):
        accuracy.work(bench(tmp_path), RUNS[2:], None)


def test_the_plan_covers_the_bars_once_each(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keys = [run.key for run in relu_budgets.plan()]
    assert len(keys) == len(set(keys)) == 23
    smallest = [run for run in relu_budgets.plan() if run.share == 0.07]
    assert sorted({run.teacher.seed for run in smallest}) == [0, 1, 2]
    assert {run.space for run in smallest} == set(relu_budgets.SPACES)
    relu_budgets.main(["list", "--cache", str(tmp_path)])
    assert capsys.readouterr().out.count("not finished") == len(keys)


def test_strategies_stand_in_a_table_of_their_own_the_best_first() -> None:
    row = {
        "key": "budgets/tiny/whole",
        "teacher": {"backbone": "resnet8", "width": 0.125},
        "target": 2000,
        "space": "whole",
        "strategy": "knapsack",
        "comparisons_made": 1999,
        "latency_ms": 1.5,
        "accuracy": 0.5,
        "exploded_images": 0,
        "tuned_epochs": 10,
        "search_s": 1.2,
    }
    compared = [
        {**row, "key": f"budgets/tiny/strategies/{name}/seed{seed}", "strategy": name, "accuracy": accuracy}
        | {"tuned_epochs": 10 + 5 * seed, "search_s": 100.0 * seed}
        for name, accuracies in (("rrnet", (0.6, 0.62)), ("knapsack", (0.7, 0.8)))
        for seed, accuracy in enumerate(accuracies)
    ]
    lines = relu_budgets.strategies_table([row, *compared]).splitlines()[2:]
    assert lines == [
        "| `knapsack` | 50 | 10 / 15 | 1,999 | 1.500 | 75.00 (70.00 / 80.00) | 0 |",
        "| `rrnet` | 50 | 10 / 15 | 1,999 | 1.500 | 61.00 (60.00 / 62.00) | 0 |",
    ]
    plain = relu_budgets.table([row, *compared]).splitlines()[2:]
    assert plain == ["| resnet8, width 0.125 | 2,000 | whole | knapsack | 1,999 | 1.500 | 50.00 | 0 |"]
