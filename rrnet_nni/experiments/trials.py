"""A trial as those see it who follow it, whoever runs it: NNI's manager or a sweep of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..reports.results import Result

#: Statuses after which a trial does not change any more.
FINAL_STATUSES = frozenset({"SUCCEEDED", "FAILED", "USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED"})


@dataclass(frozen=True)
class Trial:
    """One trial as its manager sees it.

    `intermediate` and `final` are what the trial reported: a number or a dict with `default`.
    """

    id: str
    number: int
    status: str
    parameters: Mapping[str, Any]
    intermediate: tuple[Any, ...] = ()
    final: Any = None

    @property
    def ended(self) -> bool:
        return self.status in FINAL_STATUSES


class TrialFolders(Protocol):
    """Who runs trials: each leaves its files in a folder of its own."""

    @property
    def id(self) -> str: ...

    def trial_directory(self, trial: Trial) -> Path: ...


def last_error(directory: Path) -> str:
    """The last line that a trial wrote to standard error; empty where it wrote none."""
    path = directory / "trial.stderr"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def final_metrics(result: Result) -> dict[str, float]:
    """What the tuner and the web UI get in the end; `default` is the validation accuracy, never the test accuracy."""
    shown = {
        "default": result.validation_accuracy,
        "test_accuracy": result.accuracy,
        "fixed_point_test_accuracy": result.fixed_point_accuracy,
        "latency_ms": result.latency_ms,
        "expected_latency_ms": result.expected_latency_ms,
        "relus": result.relus,
        "comparisons": result.comparisons,
        "latency_weight": result.latency_weight,
    }
    return {name: value for name, value in shown.items() if value is not None}
