"""Rows of ImageNet networks: which have times that mean something, and what the table prints of the others."""

import multiprocessing
import os
import time
from typing import Any

import imagenet
import pytest

ROW: dict[str, Any] = {
    **{"network": "resnet50", "protocol": "masked", "rings": "32", "preprocessing": "dealer", "load": 0.1},
    **{"online_s": 3.21, "offline_s": 7.65, "bytes_sent": [2_000_000, 1_000_000], "rounds": 374},
    **{"offline_bytes": [0, 3_000_000], "memory_mb": [10, 20], "offline_memory_mb": [], "error": 0.0123},
}


def test_times_are_printed_of_rows_that_nobody_disturbed_alone() -> None:
    quiet, disturbed = imagenet.table([ROW]), imagenet.table([{**ROW, "load": 0.5}])
    assert "| 3.21 | 7.65 | 2.0 / 1.0 | 374 |" in quiet
    assert "|  |  | 2.0 / 1.0 | 374 |" in disturbed


def test_a_row_that_failed_is_made_again_and_says_why() -> None:
    failed = {key: ROW[key] for key in imagenet.KEYS} | {"failure": "no peer"}
    assert imagenet.is_disturbed(failed)
    assert imagenet.is_disturbed({**ROW, "load": 0.5})
    assert not imagenet.is_disturbed(ROW)
    assert "| no peer |" in imagenet.table([failed])


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_cores_that_others_take_are_counted_and_waiting_is_not() -> None:
    spinning = [multiprocessing.Process(target=_spin, args=(1.5,)) for _ in range(os.cpu_count() or 1)]
    for each in spinning:
        each.start()
    busy = imagenet.busy_cores(1.0)
    for each in spinning:
        each.join()
    assert busy == pytest.approx(os.cpu_count() or 1, rel=0.25)
