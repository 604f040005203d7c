"""Controls of a front have its latencies, are trained as its networks were, and are trained once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import front_controls
import pytest

from rrnet_nni.pipeline import describe, finish, teacher_of
from rrnet_nni.search_spaces import fixed_choices
from rrnet_nni.task import load_task
from rrnet_nni.workbench import Workbench, prepare

TASK = """
backbone: resnet8
space: {width: 0.25}
data: {name: digits, image_size: 8, train_images: 120, test_images: 40}
teacher: {epochs: 1}
training: {epochs: 1, batch_size: 32}
calibration_images: 8
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setenv("RRNET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "task.yml").write_text(TASK)
    return prepare(load_task(tmp_path / "task.yml"))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_controls_are_other_networks_of_nearly_the_same_latency(bench: Workbench, share: float) -> None:
    names = list(bench.table.entries)
    slow, fast = (fixed_choices("resnet8", bench.space, *kind) for kind in (("relu", "maxpool"), ("x2act", "avgpool")))
    near = describe(bench, {name: (slow if i < share * len(names) else fast)[name] for i, name in enumerate(names)})
    drawn = front_controls.drawn(bench, near, tolerance=0.1)
    for choices in drawn:
        assert choices != dict(near.choices)
        assert bench.table.latency_ms(choices) == pytest.approx(near.latency_ms, rel=0.1)
    assert drawn[0] != drawn[1]
    assert drawn == front_controls.drawn(bench, near, tolerance=0.1)
    assert front_controls.drawn(bench, replace(near, latency_ms=1e6)) == []


def test_a_front_is_compared_with_controls_that_are_trained_once(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list(fixed_choices("resnet8", bench.space))
    choices = fixed_choices("resnet8", bench.space) | dict.fromkeys(names[2:5], "x2act")
    architecture = replace(describe(bench, choices), latency_weight=0.1)
    trial = tmp_path / "runs" / "abc" / "environments" / "local" / "trials" / "xyz"
    finish(bench, architecture, trial, **teacher_of(bench))
    rows = front_controls.compared(bench, tmp_path)
    assert [row["latency_ms"] for row in rows] == [architecture.latency_ms]
    assert len(rows[0]["controls"]) == 2
    settings = [
        json.loads(path.read_text())
        for path in (trial, *(tmp_path / "controls").iterdir())
        for path in path.glob("training_s*")
    ]
    assert len(settings) == 3
    assert len({one["teacher"] for one in settings}) == len({one["training images"] for one in settings}) == 1
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "controls").rglob("weights.pt")}
    assert front_controls.compared(bench, tmp_path) == rows
    drawn: dict[str, int] = {}

    def count(figure: Any, path: Path) -> None:
        drawn.update({line.get_label(): len(line.get_xdata()) for axis in figure.axes for line in axis.lines})

    monkeypatch.setattr(front_controls, "save_figure", count)
    front_controls.draw(rows, tmp_path / "front.png")
    assert drawn == {"searched": 1, "random": 2}
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "controls").rglob("weights.pt")}


def test_a_point_is_won_above_the_mean_of_its_controls() -> None:
    row = {"latency_ms": 3.0, "relus": 10, "accuracy": 0.8}
    rows = [
        {**row, "controls": [{"accuracy": 0.79}, {"accuracy": 0.80}]},
        {**row, "controls": [{"accuracy": 0.9}, {"accuracy": 0.71}]},
        {**row, "controls": []},
    ]
    table = front_controls.table(rows)
    assert "| 80.00 | 79.00 / 80.00 | yes |" in table
    assert "| 80.00 | 90.00 / 71.00 | no |" in table
    assert table.endswith("on 1 of 2 points that have some.")
