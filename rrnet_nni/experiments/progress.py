"""What a person sees while NNI's trials run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from rrnet_nni.base.tables import watched_table

from ..reports.results import format_weight
from .trials import Trial

if TYPE_CHECKING:
    from rich.table import Table


class TrialsDisplay:
    """A live table of trials on a terminal; elsewhere one line whenever a trial changes its state."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._started = time.monotonic()
        self._seen: dict[str, str] = {}

    def __enter__(self) -> TrialsDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, trials: Sequence[Trial]) -> None:
        """Show the trials as they are now."""
        if self._live:
            self._live.update(self._table(trials))
            return
        for trial in trials:
            if self._seen.get(trial.id) != trial.status:
                self._seen[trial.id] = trial.status
                self._console.print(f"[{self._elapsed()}] {_line(trial)}", markup=False, highlight=False)

    def _elapsed(self) -> str:
        seconds = int(time.monotonic() - self._started)
        return f"{seconds // 60:d}:{seconds % 60:02d}"

    def _table(self, trials: Sequence[Trial]) -> Table:
        ended = sum(trial.ended for trial in trials)
        return watched_table(
            f"{ended} of {len(trials)} started trials ended, {self._elapsed()}",
            ("trial", "state", "λ [1/ms]", "epochs", "validation accuracy", "latency [ms]"),
            [
                (
                    str(trial.number),
                    trial.status.lower(),
                    _weight(trial),
                    str(len(trial.intermediate)),
                    *_metrics(trial),
                )
                for trial in trials
            ],
        )


def _line(trial: Trial) -> str:
    accuracy, latency = _metrics(trial)
    shown = f", validation accuracy {accuracy}, latency {latency} ms" if trial.final is not None else ""
    return f"trial {trial.number} (λ = {_weight(trial)}/ms): {trial.status.lower()}{shown}"


def _weight(trial: Trial) -> str:
    weight = trial.parameters.get("latency_weight")
    return format_weight(weight) if isinstance(weight, int | float) else "?"


def _metrics(trial: Trial) -> tuple[str, str]:
    last = trial.final if trial.final is not None else (trial.intermediate[-1] if trial.intermediate else None)
    if not isinstance(last, Mapping):
        return "", ""
    return _number(last, "default", 100.0, "{:.1f} %"), _number(last, "latency_ms", 1.0, "{:.3f}")


def _number(metrics: Mapping[str, Any], key: str, factor: float, pattern: str) -> str:
    value = metrics.get(key)
    return pattern.format(factor * value) if isinstance(value, int | float) else ""
