"""Main jobs that outlive their terminal: started, found again and stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.files import output_folder, write_whole_json

from .nni_manager import Experiment

JOB_FILE = "main_job.json"
#: Seconds that a job may take to start its experiment, and to stop it.
PATIENCE_S = 180.0
_STARTED = re.compile(r"NNI experiment (\S+), web UI on (\S+)")


def note_job(experiment: Experiment) -> None:
    """Leave word of the process that runs an experiment, for `stop_job`."""
    write_whole_json(experiment.directory / JOB_FILE, {"pid": os.getpid(), "started": _started(os.getpid())})


def forget_job(experiment: Experiment) -> None:
    (experiment.directory / JOB_FILE).unlink(missing_ok=True)


def start_detached(arguments: Sequence[str], directory: Path) -> tuple[str, str, Path]:
    """Start `rrnet run` in a session of its own and wait until its experiment runs.

    Returns:
        the experiment's id, the address of its web UI, and the file that the job writes to.

    Raises:
        ExecutionFault: the job ended first; the sentence is its own.
    """
    log = output_folder(directory) / f"rrnet-run-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with log.open("wb") as stream:
        job = subprocess.Popen(
            [str(Path(sys.executable).with_name("rrnet")), "run", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
        )
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := _STARTED.search(text):
            return found[1], found[2], log
        if job.poll() is not None:
            said = [line for line in text.splitlines() if line.strip()] or ["it said nothing"]
            raise ExecutionFault(f"the job ended with status {job.returncode}: {said[-1]}")
        time.sleep(0.2)
    job.terminate()
    raise ExecutionFault(f"the job did not start its experiment within {PATIENCE_S:.0f} s; its log is {log}")


def stop_job(experiment_id: str, directory: Path) -> str:
    """Stop an experiment and the job that runs it; what is finished stays, and `rrnet run --resume` goes on with it.

    Returns:
        a sentence about what was stopped.

    Raises:
        Refusal: there is no such experiment under `directory`.
        ExecutionFault: the job does not end.
    """
    folder = directory / experiment_id
    if not (folder / "db").is_dir():
        raise Refusal(f"{directory}: there is no experiment {experiment_id} there")
    job = _job(folder / JOB_FILE)
    if job is None:
        left = Experiment(experiment_id, 0, folder).stop()
        rest = "what it left is stopped" if left else "nothing is left to stop"
        return f"experiment {experiment_id} has no job that runs; {rest}"
    job.send_signal(signal.SIGTERM)
    try:
        job.wait(timeout=PATIENCE_S)
    except psutil.TimeoutExpired:
        raise ExecutionFault(
            f"the job of experiment {experiment_id} (process {job.pid}) did not end when told to"
        ) from None
    return f"experiment {experiment_id} is stopped"


def _job(path: Path) -> psutil.Process | None:
    """The running process of a job file: the number alone may be another one's by now."""
    try:
        document = json.loads(path.read_text())
        job = psutil.Process(int(document["pid"]))
        return job if job.create_time() == document["started"] else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def _started(pid: int) -> float:
    return float(psutil.Process(pid).create_time())
