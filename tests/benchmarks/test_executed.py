"""Trained networks as they are executed: judged as the parties compute them, part by part, and never twice."""

from __future__ import annotations

from pathlib import Path

import executed
import numpy as np
import pytest
from accuracy_plan import Run
from test_accuracy import SMALL, bench


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> executed.Executed:
    cache = tmp_path_factory.mktemp("cache")
    run = Run("tiny/seed0/x2act", "resnet8", 0.125, "x2act", 1, training=SMALL)
    made = bench(cache)
    made.train(run)
    return executed.Executed(made, run, "beaver-ot", "32")


def test_fixed_point_and_two_parties_stand_beside_float(
    trained: executed.Executed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executed, "FIXED_PART", 8)
    monkeypatch.setattr(executed, "EXECUTED_PART", 4)
    row = trained.row(20, 3)
    labels = trained.bench.dataset.test_labels.numpy()
    floats, fixed = trained.floats(0, 20), trained.fixed(8, 16)
    assert row["float_accuracy"] == (floats.argmax(1) == labels).mean()
    assert np.array_equal(np.load(trained.folder / "fixed-beaver-ot-32" / "8-16.npy"), fixed)
    assert (row["images"], row["executed_images"]) == (20, 3)
    assert 0 < row["fixed_point_worst_difference"] < 0.2
    assert 0 < row["executed_worst_difference"] < 0.2
    assert row["executed_same_class"] == 1.0
    assert "| 3 | 3 |" in executed.table([row])

    def not_again(*unused: object) -> None:
        pytest.fail("computed twice")

    for name in ("floats", "fixed", "two_parties"):
        monkeypatch.setattr(trained, name, not_again)
    assert trained.row(20, 3) == row


def test_another_network_s_row_stays(tmp_path: Path) -> None:
    rows = [{"key": key, "protocol": "masked", "ring": "32", "n": 1} for key in ("a", "b")]
    executed.write_whole_json(tmp_path / "rows.json", rows)
    assert executed.merged(tmp_path / "rows.json", {"key": "a", "protocol": "masked", "ring": "32", "n": 2}) == [
        rows[1],
        {"key": "a", "protocol": "masked", "ring": "32", "n": 2},
    ]
