"""Jobs in the background are found by what they left, never by a number alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.experiments.background import JOB_FILE, forget_job, note_job, start_detached, stop_job
from rrnet_nni.experiments.nni_manager import Experiment


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    (tmp_path / "abcdefgh" / "db").mkdir(parents=True)
    return Experiment("abcdefgh", 1, tmp_path / "abcdefgh")


def test_a_running_job_is_ended(experiment: Experiment) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as job:
        document = {"pid": job.pid, "started": psutil.Process(job.pid).create_time()}
        (experiment.directory / JOB_FILE).write_text(json.dumps(document))
        assert stop_job("abcdefgh", experiment.directory.parent) == "experiment abcdefgh is stopped"
        assert not psutil.pid_exists(job.pid)


@pytest.mark.parametrize("content", ['{"pid": 1}', "no JSON", None, "later"])
def test_another_process_of_that_number_is_left_alone(experiment: Experiment, content: str | None) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        if content == "later":
            content = json.dumps({"pid": other.pid, "started": psutil.Process(other.pid).create_time() - 5})
        if content is not None:
            (experiment.directory / JOB_FILE).write_text(content)
        assert "has no job that runs" in stop_job("abcdefgh", experiment.directory.parent)
        assert other.poll() is None
        other.terminate()


def test_a_job_notes_itself_and_forgets(experiment: Experiment) -> None:
    note_job(experiment)
    noted = json.loads((experiment.directory / JOB_FILE).read_text())
    assert psutil.Process(noted["pid"]).create_time() == noted["started"]
    forget_job(experiment)
    forget_job(experiment)
    assert not (experiment.directory / JOB_FILE).exists()


def test_what_never_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="there is no experiment zzzzzzzz there"):
        stop_job("zzzzzzzz", tmp_path)


def test_a_job_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ExecutionFault, match=r"ended with status 2: rrnet: .*absent\.yml: there is no such file"):
        start_detached([str(tmp_path / "absent.yml")], tmp_path / "runs")
