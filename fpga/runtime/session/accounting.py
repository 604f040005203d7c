"""What an execution cost, measured at the link and beside what the program predicted."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...program import WORD_BYTES, Program
from ...protocols.party import Execution
from ...protocols.shared.randomness import SEED_BYTES
from ..link.link import Link
from ..link.strands import Strand


@dataclass(frozen=True)
class MeasuredOperation:
    """One operation (or the sharing of inputs, or the opening of the logits) at one party; batches are added up."""

    operation: str
    phase: str
    seconds: float
    waited_s: float
    rounds: int
    messages: int
    bytes_sent: int
    bytes_received: int


class Recorder:
    """Measures named steps on a link or a strand of one; `progress` hears of each step that starts."""

    def __init__(self, link: Link | Strand, progress: Callable[[str, str], None] | None = None) -> None:
        self.link = link
        self.progress = progress
        self._sums: dict[tuple[str, str], list[Any]] = {}

    @property
    def rows(self) -> dict[tuple[str, str], MeasuredOperation]:
        """Phase and step -> what was measured of it, in the order in which the steps first ended."""
        return {(phase, step): MeasuredOperation(step, phase, *sums) for (phase, step), sums in self._sums.items()}

    def measure(self, phase: str, operation: str) -> _Step:
        """Measure one step; the same step of a later batch is added to the first. A step that fails is not counted."""
        if self.progress is not None:
            self.progress(phase, operation)
        return _Step(self, (phase, operation))

    def count(self, key: tuple[str, str], values: Sequence[Any]) -> None:
        """Add the fields of a `MeasuredOperation` behind its names."""
        sums = self._sums.get(key)
        self._sums[key] = list(values) if sums is None else [one + other for one, other in zip(sums, values)]

    def add(self, other: Recorder) -> None:
        """Count the steps of another recorder too, of a strand of the same link."""
        for key, sums in other._sums.items():
            self.count(key, sums)

    def seconds(self, phase: str) -> float:
        return sum(row.seconds for row in self.rows.values() if row.phase == phase)


class _Step:
    """One step that a recorder measures: there are many in an image, and each is waited for."""

    __slots__ = ("_before", "_key", "_recorder", "_started")

    def __init__(self, recorder: Recorder, key: tuple[str, str]) -> None:
        self._recorder, self._key = recorder, key

    def __enter__(self) -> None:
        self._before, self._started = self._recorder.link.counters, time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        seconds, before, after = time.perf_counter() - self._started, self._before, self._recorder.link.counters
        values = (
            *(seconds, after.waited_s - before.waited_s, after.rounds - before.rounds),
            *(after.messages - before.messages, after.bytes_sent - before.bytes_sent),
            after.bytes_received - before.bytes_received,
        )
        self._recorder.count(self._key, values)


@dataclass(frozen=True)
class Prediction:
    """Bytes and rounds of one step: party 0's and party 1's."""

    rounds: int
    bytes_sent: tuple[int, int]


SHARE_WEIGHTS, SHARE_INPUT, OPEN_LOGITS = "share weights", "share input", "open logits"


def predict(
    execution: Execution, program: Program, batches: list[int], reveal_to: int
) -> dict[tuple[str, str], Prediction]:
    """(phase, step) -> what the program says will be sent, for batches of the given sizes."""
    result = {("setup", SHARE_WEIGHTS): Prediction(1, (0, SEED_BYTES))}
    for traffic in execution.traffic(program, 1):
        if any(traffic.setup_bytes):
            result["setup", traffic.operation] = Prediction(1, traffic.setup_bytes)
    result["online", SHARE_INPUT] = Prediction(len(batches), (0, SEED_BYTES * len(batches)))
    by_size = {size: execution.traffic(program, size) for size in set(batches)}
    for index, operation in enumerate(program.operations):
        parts = [by_size[size][index] for size in batches]
        sent = sum(part.bytes_sent[0] for part in parts), sum(part.bytes_sent[1] for part in parts)
        result["online", operation.name] = Prediction(sum(len(part.rounds) for part in parts), sent)
    opened = WORD_BYTES * program.tensor(program.output).elements * sum(batches)
    logits = (0, opened) if reveal_to == 0 else (opened, 0)
    result["online", OPEN_LOGITS] = Prediction(len(batches), logits)
    return result


def peak_memory_mb() -> float:
    """Largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
