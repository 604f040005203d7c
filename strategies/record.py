"""The record of a search that one can look at: one line of JSON per epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rrnet_nni.base.files import write_whole

RECORD_NAME = "search.jsonl"
TENSORBOARD_NAME = "tensorboard"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of a search left behind.

    Attributes:
        epoch: counted from 0.
        seconds: wall time of this epoch.
        phase: `warm-up` (ω alone) or `search`.
        train_loss, validation_loss, validation_accuracy: means over the epoch's batches; the validation figures are the
            mixture's, at the look-ahead weights during the search. None where nothing was measured or it overflowed.
        latency_weight: λ in 1/ms as it stood at the end of the epoch.
        expected_latency_ms: Lat(α), the mixture's latency.
        latency_ms, relus, comparisons: of the network that argmax θ would give now.
        theta: label -> candidate -> probability.
        choices: label -> argmax candidate.
        temperature: T of θ = softmax(α / T).
        decided: gates that are frozen.
        skipped_updates: α updates of this epoch that were skipped because a gradient was not finite.
    """

    epoch: int
    seconds: float
    phase: str
    train_loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    latency_weight: float
    expected_latency_ms: float | None
    latency_ms: float | None
    relus: int | None
    comparisons: int | None
    temperature: float
    decided: int
    skipped_updates: int
    theta: Mapping[str, Mapping[str, float]]
    choices: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class RecordFile:
    """Appends records to a file of JSON lines, one per epoch."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def append(self, record: EpochRecord) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record.to_dict(), allow_nan=False) + "\n")

    def forget_from(self, epoch: int) -> None:
        """Drop the records of `epoch` and later, which a resumed search writes again."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _epoch_of(line) < epoch]
        write_whole(self.path, "".join(line + "\n" for line in kept).encode())

    def read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


class TensorBoardRecord:
    """The same records as TensorBoard curves: one per loss, latency and candidate's θ.

    A resumed search hides what an earlier process wrote about the epochs that it repeats.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = str(directory)
        self._writer: Any = None

    def append(self, record: EpochRecord) -> None:
        if self._writer is None:
            # Imported here because TensorBoard takes seconds to load and few searches ask for it.
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(self._directory, purge_step=record.epoch)
        for name, value in scalars_of(record).items():
            self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()


def scalars_of(record: EpochRecord) -> dict[str, float]:
    """Every number of a record under the name of its curve."""
    scalars = {
        f"search/{name}": float(value)
        for name, value in record.to_dict().items()
        if isinstance(value, int | float) and name != "epoch"
    }
    for label, probabilities in record.theta.items():
        scalars.update({f"theta/{label}/{candidate}": value for candidate, value in probabilities.items()})
    return scalars


def _epoch_of(line: str) -> float:
    """The epoch of one line; a line that a killed process left half written counts as later than any."""
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class RunningMean:
    """Mean of the finite values that were added; None where there were none."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float, count: int = 1) -> None:
        if math.isfinite(value):
            self._sum += value * count
            self._count += count

    def mean(self) -> float | None:
        return self._sum / self._count if self._count else None
