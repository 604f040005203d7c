"""Processes that NNI leaves to themselves: found by their words, since it remembers them by their numbers only."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

#: Seconds that a manager may take to end: its tuner gets 30 of them, and after 60 it ends by itself.
MANAGER_PATIENCE_S = 90.0
#: Seconds that everything else gets.
PATIENCE_S = 10.0
_POLL_S = 0.1
#: What NNI tells a trial, and a tuner.
_FOLDERS = ("NNI_OUTPUT_DIR", "NNI_CHECKPOINT_DIRECTORY")


def processes_with(is_meant: Callable[[psutil.Process, list[str]], bool]) -> list[psutil.Process]:
    """The processes of which `is_meant` says so, given each and the words of its command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if is_meant(process, process.cmdline()):
                found.append(process)
    return found


def end_processes(processes: Sequence[psutil.Process], patience_s: float = PATIENCE_S) -> None:
    """Ask processes to end, wait, and kill those that do not."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    alive = _alive_after(processes, patience_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _alive_after(alive, PATIENCE_S)


def managers_of(experiment_id: str) -> list[psutil.Process]:
    """The managers of an experiment that run, whoever started them."""
    named = ["--experiment-id", experiment_id]
    return processes_with(
        lambda _, words: any(word.endswith("nni_node/main.js") for word in words) and _follow(words, named)
    )


def end_managers(experiment_id: str) -> int:
    """End the managers of an experiment with their tuners; returns how many managers that were.

    `nnictl stop` finds a manager in a list below the home folder alone, and leaves it where that list does not have it.
    """
    managers = managers_of(experiment_id)
    started: list[psutil.Process] = []
    for manager in managers:
        with contextlib.suppress(psutil.NoSuchProcess):
            started += manager.children(recursive=True)
    end_processes(managers, MANAGER_PATIENCE_S)
    end_processes(started)
    return len(managers)


def end_leftovers(folder: Path) -> int:
    """End what NNI started for an experiment's or a machine's folder; returns how many processes that were.

    Tuner, keepers and trials may outlive a manager that is killed. A trial starts again in its folder, where no other
    must train then.
    """
    folder = folder.resolve()
    left = processes_with(lambda process, words: process.pid != os.getpid() and _is_of(process, words, folder))
    end_processes(left)
    return len(left)


def _is_of(process: psutil.Process, words: list[str], folder: Path) -> bool:
    """Whether it is a keeper of this folder, or a trial or a tuner, each of which NNI tells a folder of its own."""
    is_keeper = any(word.endswith("trial_keeper/main.js") for word in words)
    environment = process.environ()
    told = [environment[name] for name in _FOLDERS if name in environment] + words[-1:] * is_keeper
    return any(Path(one).is_relative_to(folder) for one in told)


def _follow(words: list[str], named: list[str]) -> bool:
    return any(words[start : start + len(named)] == named for start in range(len(words)))


def _alive_after(processes: Sequence[psutil.Process], patience_s: float) -> list[psutil.Process]:
    deadline = time.monotonic() + patience_s
    while (alive := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return alive


def _runs(process: psutil.Process) -> bool:
    """Whether it is at work still: one that nobody waits for keeps its number after its end."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
