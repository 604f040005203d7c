"""What an execution cost, measured at the link and beside what the program predicted."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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

    def __add__(self, other: MeasuredOperation) -> MeasuredOperation:
        return MeasuredOperation(
            self.operation,
            self.phase,
            self.seconds + other.seconds,
            self.waited_s + other.waited_s,
            self.rounds + other.rounds,
            self.messages + other.messages,
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
        )


class Recorder:
    """Measures named steps on a link or a strand of one; `progress` hears of each step that starts."""

    def __init__(self, link: Link | Strand, progress: Callable[[str, str], None] | None = None) -> None:
        self._link = link
        self.progress = progress
        self.rows: dict[tuple[str, str], MeasuredOperation] = {}

    @contextmanager
    def measure(self, phase: str, operation: str) -> Iterator[None]:
        """Measure one step; the same step of a later batch is added to the first."""
        if self.progress is not None:
            self.progress(phase, operation)
        before, started = self._link.counters, time.perf_counter()
        yield
        used = self._link.counters - before
        row = MeasuredOperation(
            operation,
            phase,
            time.perf_counter() - started,
            used.waited_s,
            used.rounds,
            used.messages,
            used.bytes_sent,
            used.bytes_received,
        )
        key = (phase, operation)
        self.rows[key] = self.rows[key] + row if key in self.rows else row

    def add(self, other: Recorder) -> None:
        """Count the steps of another recorder too, of a strand of the same link."""
        for key, row in other.rows.items():
            self.rows[key] = self.rows[key] + row if key in self.rows else row

    def seconds(self, phase: str) -> float:
        return sum(row.seconds for row in self.rows.values() if row.phase == phase)


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
    result["online", SHARE_INPUT] = Prediction(len(batches), (SEED_BYTES * len(batches), 0))
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
