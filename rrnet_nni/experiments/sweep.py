"""Searches at many λ on this machine's cores without NNI's manager: `rrnet search --many`.

ParetoTuner chooses the λ, every search is a process of its own in a folder of its own. What is kept is the list of λ
(sweep.json) and what the searches leave, so a sweep that was killed goes on when it is started again.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import output_folder, write_whole_json
from rrnet_nni.base.settings import read_json
from rrnet_nni.strategies import ParetoTuner
from rrnet_nni.strategies.pareto_arguments import PARAMETER

from ..reports.placement import Placement, this_machine
from ..reports.results import RESULT_FILE, Result
from .trials import Trial, final_metrics

SWEEP_FILE = "sweep.json"
_POLL_S = 0.2


@dataclass(frozen=True)
class SweepRecord:
    """sweep.json: what was asked for, and every λ (1/ms) that was given out so far, by trial number."""

    task: dict[str, Any]
    low: float
    high: float
    weights: list[float]


class Sweep:
    """A sweep in `directory`; `command` and a folder make the command line of the search at one λ.

    Raises:
        Refusal: the folder holds a sweep of something else.
    """

    def __init__(
        self,
        directory: Path,
        task: dict[str, Any],
        low: float,
        high: float,
        command: Callable[[float, Path], list[str]],
    ) -> None:
        self.directory, self._command = output_folder(directory), command
        self._tuner = ParetoTuner(low=low, high=high)
        self._record = SweepRecord(json.loads(json.dumps(task)), low, high, [])
        if (directory / SWEEP_FILE).exists():
            kept = read_json(directory / SWEEP_FILE, SweepRecord, "a sweep")
            for name in ("task", "low", "high"):
                if getattr(kept, name) != getattr(self._record, name):
                    raise Refusal(f"{directory} holds a sweep with another {name}: name another folder with -o")
            self._record = kept
        self._tuner.remember(self._record.weights)
        self._running: dict[int, _Search] = {}
        self._ended: dict[int, bool] = {}

    @property
    def id(self) -> str:
        return self.directory.name

    def trial_directory(self, trial: Trial) -> Path:
        return self._folder(trial.number)

    def run(self, many: int, workers: int, on_progress: Callable[[list[Trial]], None]) -> list[Trial]:
        """Search until `many` λ are done, `workers` at a time; those that failed before are tried again.

        Raises:
            Refusal: another process works in this folder.
        """
        with _alone(self.directory):
            waiting = self._unfinished(many)
            try:
                while True:
                    self._gather()
                    while len(self._running) < workers and (number := self._next(waiting, many)) is not None:
                        self._start(number)
                    on_progress(self.trials())
                    if not self._running:
                        return self.trials()
                    time.sleep(_POLL_S)
            finally:
                for search in self._running.values():
                    search.end()

    def trials(self) -> list[Trial]:
        """Every search so far."""
        return [self._trial(number, weight) for number, weight in enumerate(self._record.weights)]

    def _unfinished(self, many: int) -> list[int]:
        """The searches that were given out and have no result; the tuner learns the results of the others."""
        waiting = []
        for number in range(min(many, len(self._record.weights))):
            if (self._folder(number) / RESULT_FILE).exists():
                self._learn(number)
            else:
                waiting.append(number)
        return waiting

    def _next(self, waiting: list[int], many: int) -> int | None:
        if waiting:
            return waiting.pop(0)
        number = len(self._record.weights)
        if number >= many:
            return None
        self._record.weights.append(self._tuner.generate_parameters(number)[PARAMETER])
        write_whole_json(self.directory / SWEEP_FILE, vars(self._record))
        return number

    def _start(self, number: int) -> None:
        folder = output_folder(self._folder(number))
        self._running[number] = _Search(self._command(self._record.weights[number], folder), folder)

    def _gather(self) -> None:
        """Take up what has ended."""
        for number, search in list(self._running.items()):
            if not search.ended():
                continue
            del self._running[number]
            folder = self._folder(number)
            search.placement().save(folder)
            if (folder / RESULT_FILE).exists():
                self._learn(number)
            else:
                self._ended[number] = False
                self._tuner.trial_end(number, False)

    def _learn(self, number: int) -> None:
        metrics = final_metrics(Result.load(self._folder(number)))
        self._tuner.receive_trial_result(number, {PARAMETER: self._record.weights[number]}, metrics)
        self._ended[number] = True

    def _trial(self, number: int, weight: float) -> Trial:
        if number in self._ended:
            status = "SUCCEEDED" if self._ended[number] else "FAILED"
        else:
            status = "RUNNING" if number in self._running else "WAITING"
        final = final_metrics(Result.load(self._folder(number))) if status == "SUCCEEDED" else None
        return Trial(str(number), number, status, {PARAMETER: weight}, final=final)

    def _folder(self, number: int) -> Path:
        return self.directory / "trials" / str(number)


class _Search:
    """One search in a process of its own; its folder stays locked for as long as that process lives.

    So a sweep whose own process was killed waits for the searches that outlived it, and never starts a second one
    beside them.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command, self._folder = command, folder
        self._asked = time.time()
        self._started = self._asked
        self._process: subprocess.Popen[bytes] | None = None
        self._outlived = False

    def ended(self) -> bool:
        """Whether it has ended; starts it as soon as nobody else works in its folder."""
        if self._process is None:
            self._start()
        if self._process is None:
            return self._outlived
        return self._process.poll() is not None

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def placement(self) -> Placement:
        return Placement(this_machine(), self._started - self._asked, time.time() - self._started)

    def _start(self) -> None:
        lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return
        self._outlived = (self._folder / RESULT_FILE).exists()
        if self._outlived:
            os.close(lock)
            return
        self._started = time.time()
        try:
            with (self._folder / "trial.stdout").open("wb") as out, (self._folder / "trial.stderr").open("wb") as err:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=(lock,)
                )
        finally:
            os.close(lock)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"{directory}: another process works on this sweep") from None
        yield


def rrnet_command(verb: str, *arguments: str) -> list[str]:
    """The command line of one of our verbs under this interpreter."""
    program = "import sys; from rrnet_nni.cli import main; sys.exit(main())"
    return [sys.executable, "-c", program, verb, *arguments]
