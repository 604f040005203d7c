"""The report of a whole run: what was searched, what was chosen, how well two parties execute it.

`Report` is data (report.json); `report_page.py` makes the pages that people look at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal
from rrnet_nni.strategies.record import RECORD_NAME

from ..architecture import ARCHITECTURE, Architecture
from .agreement import Agreement
from .placement import Placement
from .results import Result, results_on_front


@dataclass(frozen=True)
class ExecutedBatch:
    """One batch of test images through two real parties, against onnxruntime on the exported model."""

    images: int
    same_class: float
    worst_difference: float
    difference_per_image: tuple[float, ...]
    online_s: float
    offline_s: float
    bytes_sent: tuple[int, int]
    predicted_bytes: tuple[int, int]
    rounds: int
    preprocessing: str
    protocol: str

    @classmethod
    def of(cls, agreement: Agreement, answer: Mapping[str, Any], protocol: str) -> ExecutedBatch:
        """Combine the comparison of logits with the answer of `rrnet-2pc-run --json`."""
        return cls(
            images=agreement.images,
            same_class=agreement.same_class,
            worst_difference=agreement.worst_difference,
            difference_per_image=tuple(float(np.round(value, 9)) for value in agreement.largest_difference),
            online_s=answer["online_s"],
            offline_s=answer["offline_s"],
            bytes_sent=tuple(answer["bytes_sent"]),
            predicted_bytes=tuple(answer["predicted_bytes"]),
            rounds=answer["rounds"],
            preprocessing=str(answer["preprocessing"]),
            protocol=protocol,
        )


@dataclass(frozen=True)
class Report:
    """A whole run. `searches[i]` are the epoch records of `results[i]`, `folders[i]` is where it lies, `placements[i]`
    where it ran, as far as that is known; `chosen` is an index into `results`."""

    title: str
    results: tuple[Result, ...]
    searches: tuple[tuple[Mapping[str, Any], ...], ...]
    architectures: tuple[Architecture, ...]
    folders: tuple[Path, ...]
    chosen: int | None = None
    execution: ExecutedBatch | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    placements: tuple[Placement | None, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """report.json as plain values."""
        return {
            "title": self.title,
            "results": [result.to_dict() for result in self.results],
            "front": [self.results.index(result) for result in results_on_front(self.results)],
            "chosen": self.chosen,
            "execution": asdict(self.execution) if self.execution else None,
            "links": dict(self.links),
            "placements": [placement and asdict(placement) for placement in self.placements],
        }


def collect(title: str, directories: Sequence[Path], links: Mapping[str, str] | None = None) -> Report:
    """Read the trials of a run from their directories.

    Raises:
        Refusal: a directory holds no result or no architecture, or a file in it is damaged.
    """
    results, searches, architectures = [], [], []
    for directory in directories:
        results.append(Result.load(directory))
        # Not where the result says: a folder may have moved, and paths in it may be relative to where it was made.
        architectures.append(Architecture.load(directory / ARCHITECTURE))
        searches.append(read_search_record(directory / RECORD_NAME))
    found = tuple(results), tuple(searches), tuple(architectures), tuple(directories)
    placements = tuple(Placement.load(directory) for directory in directories)
    return Report(title, *found, links=links or {}, placements=placements)


def read_search_record(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Epoch records of one search; none where the file does not exist (no search was made)."""
    if not path.exists():
        return ()
    try:
        records = tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: not a record of a search ({error})") from None
    if not all(isinstance(record, dict) and {"epoch", "theta"} <= set(record) for record in records):
        raise Refusal(f"{path}: not a record of a search (a line has no epoch or no theta)")
    return records
