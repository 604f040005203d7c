"""Start an NNI experiment with `nnictl`, watch it over the manager's REST interface, stop it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ..reports.results import RESULT_FILE
from .processes import end_leftovers, end_managers, managers_of
from .trials import Trial

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Experiment:
    """A running experiment: its id, its REST address and the folder that holds its logs and trials."""

    id: str
    port: int
    directory: Path

    @property
    def web_ui(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def get(self, path: str, timeout_s: float = 10.0) -> Any:
        """GET /api/v1/nni/<path> as JSON."""
        with urllib.request.urlopen(f"{self.web_ui}/api/v1/nni/{path}", timeout=timeout_s) as answer:
            return json.load(answer)

    def status(self) -> str:
        return str(self.get("check-status")["status"])

    def trials(self) -> list[Trial]:
        """Every trial with all metrics that have reached the manager so far, in order of creation."""
        metrics: dict[str, _Metrics] = {}
        for entry in self.get("metric-data"):
            kept = metrics.setdefault(entry["trialJobId"], _Metrics())
            value = _decode_metric(entry["data"])
            if entry["type"] == "PERIODICAL":
                kept.intermediate[int(entry["sequence"])] = value
            elif entry["type"] == "FINAL":
                kept.final = value
        trials: list[Trial] = []
        for job in self.get("trial-jobs"):
            kept = metrics.get(job["trialJobId"], _Metrics())
            intermediate = tuple(kept.intermediate[sequence] for sequence in sorted(kept.intermediate))
            trials.append(
                Trial(
                    id=job["trialJobId"],
                    number=int(job.get("sequenceId", len(trials))),
                    status=job["status"],
                    parameters=_parameters(job),
                    intermediate=intermediate,
                    final=kept.final,
                )
            )
        return sorted(trials, key=lambda trial: trial.number)

    def trial_directory(self, trial: Trial) -> Path:
        """Where everything that a trial left lies: in the folder of the machine that it ran on last."""
        local = self.directory / "environments" / "local-env" / "trials" / trial.id
        found = self.directory.glob(f"environments/*/trials/{trial.id}")
        return max(found, key=lambda folder: ((folder / RESULT_FILE).exists(), folder.stat().st_mtime), default=local)

    def stop(self) -> int:
        """Stop the manager, its tuner and trials; the experiment can be resumed. Returns how many processes ran."""
        return end_managers(self.id) + end_leftovers(self.directory)


@dataclass
class _Metrics:
    intermediate: dict[int, Any] = field(default_factory=dict)
    final: Any = None


def start_experiment(config: Path, working_directory: Path, port: int | None = None) -> Experiment:
    """`nnictl create --config`, with the manager on the loopback interface only.

    Raises:
        Refusal: `nnictl` refused the configuration.
        ExecutionFault: the manager did not come up.
    """
    if not config.is_file():
        raise Refusal(f"{config}: there is no such file")
    port = port or free_port()
    printed = _nnictl("create", "--config", str(config), "--port", str(port))
    return _attach(printed, port, working_directory)


def resume_experiment(experiment_id: str, working_directory: Path, port: int | None = None) -> Experiment:
    """`nnictl resume`, with the manager on the loopback interface only.

    Raises:
        Refusal: there is no such experiment.
        ExecutionFault: the manager did not come up.
    """
    if not (working_directory / experiment_id / "db").is_dir():
        raise Refusal(f"{working_directory}: there is no experiment {experiment_id} there")
    if not managers_of(experiment_id):
        end_leftovers(working_directory / experiment_id)
    port = port or free_port()
    printed = _nnictl("resume", experiment_id, "--port", str(port), "--experiment_dir", str(working_directory))
    return _attach(printed, port, working_directory)


def wait(
    experiment: Experiment,
    on_progress: Callable[[list[Trial]], None],
    poll_s: float = 1.0,
    timeout_s: float | None = None,
) -> list[Trial]:
    """Poll until every trial of the experiment has ended; returns the trials.

    Raises:
        ExecutionFault: the manager died, reported an error, or `timeout_s` passed.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    silent_since: float | None = None
    while True:
        try:
            status, trials = experiment.status(), experiment.trials()
            silent_since = None
        except (OSError, urllib.error.URLError, json.JSONDecodeError) as error:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > 30:
                raise ExecutionFault(
                    f"the NNI manager of experiment {experiment.id} does not answer any more ({error}); its log is "
                    f"{experiment.directory / 'log' / 'nnimanager.log'}"
                ) from error
            time.sleep(poll_s)
            continue
        on_progress(trials)
        if status == "ERROR":
            raise ExecutionFault(f"experiment {experiment.id} failed{_reason(experiment.directory / 'log')}")
        if status in {"DONE", "STOPPED", "VIEWED"} and all(trial.ended for trial in trials):
            return trials
        if deadline is not None and time.monotonic() > deadline:
            raise ExecutionFault(f"experiment {experiment.id} did not end within {timeout_s:.0f} s")
        time.sleep(poll_s)


def _reason(logs: Path) -> str:
    """What a tuner that failed said last, and where everything else stands."""
    dispatcher = logs / "dispatcher.log"
    lines = dispatcher.read_text(encoding="utf-8", errors="replace").split("\n") if dispatcher.is_file() else []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    # The last line of a traceback has no time in front.
    return f"{': ' + said if said and not said.startswith('[') else ''}; its logs are in {logs}"


def free_port() -> int:
    """A TCP port that is free on the loopback interface now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def loopback_environment() -> dict[str, str]:
    """The environment for `nnictl` under which the manager listens on 127.0.0.1 only and finds this interpreter."""
    preload = Path(__file__).with_name("manager_preload.js")
    options = f'--require "{preload}" {os.environ.get("NODE_OPTIONS", "")}'.strip()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "NODE_OPTIONS": options, "PATH": path}


def _nnictl(*arguments: str) -> str:
    command = [
        sys.executable,
        "-c",
        "from rrnet_nni.base.compatibility import patient_nnictl as run; run()",
        *arguments,
    ]
    process = subprocess.Popen(
        command,
        env=loopback_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed = _plain(process.communicate()[0])
    except KeyboardInterrupt:
        # The manager outlives nnictl: only once nnictl has named the experiment can it be stopped.
        if experiment_id := _named_experiment(_plain(process.communicate()[0])):
            end_managers(experiment_id)
        raise
    if process.returncode != 0:
        lines = [line for line in printed.splitlines() if line.strip()]
        raise Refusal(f"nnictl {arguments[0]} failed: {lines[-1].strip() if lines else 'no output'}")
    return printed


def _attach(printed: str, port: int, working_directory: Path) -> Experiment:
    experiment_id = _named_experiment(printed)
    if experiment_id is None:
        raise ExecutionFault(f"nnictl did not name an experiment; it printed: {' '.join(printed.split())[-300:]}")
    return Experiment(experiment_id, port, working_directory / experiment_id)


def _named_experiment(printed: str) -> str | None:
    """The id of the experiment that `nnictl create` or `nnictl resume` started."""
    found = re.search(r"[Ee]xperiment,? (?:ID|id):? *([a-z0-9_-]{6,})|nnictl stop ([a-z0-9_-]{6,})", printed)
    return (found.group(1) or found.group(2)) if found else None


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _decode_metric(data: str) -> Any:
    # The manager stores the metric as JSON inside of a JSON string.
    value = json.loads(data)
    return json.loads(value) if isinstance(value, str) else value


def _parameters(job: Mapping[str, Any]) -> dict[str, Any]:
    for text in job.get("hyperParameters", []):
        return dict(json.loads(text).get("parameters", {}))
    return {}
