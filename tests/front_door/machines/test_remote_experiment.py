"""NNI experiments whose trials run on other hosts over ssh: everything comes back, whatever is killed in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from helpers.hosts import Hosts, hosts_of_a_manager, why_not

from rrnet_nni import pipeline, workbench
from rrnet_nni.cli import main
from rrnet_nni.reports.placement import Placement
from rrnet_nni.reports.results import Result
from rrnet_nni.task import load_task

WHY_NOT = why_not()
pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)), pytest.mark.experiment]

#: A trial that answers from a formula and leaves files as a real one does; argv is how many seconds it takes.
TRIAL = """
import json, os, sys, time
from pathlib import Path
import nni
weight = float(nni.get_next_parameter()["latency_weight"])
folder = Path(os.environ["NNI_OUTPUT_DIR"])
(folder / "model.onnx").write_bytes(repr(weight).encode() * 1000)
for epoch in range(2):
    time.sleep(float(sys.argv[1]) / 2)
    nni.report_intermediate_result({"default": weight * epoch})
(folder / "result.json").write_text("{}")
nni.report_final_result({"default": 1 - weight, "latency_ms": 1 / weight, "latency_weight": weight})
"""
#: Follows an experiment in the manager's place: one line of JSON per look at it; argv is its file, and what to resume.
FOLLOWER = """
import json, signal, sys
from dataclasses import asdict
from pathlib import Path
from rrnet_nni.experiments.nni_manager import resume_experiment, start_experiment, wait
from rrnet_nni.experiments.tuners import register_tuner
register_tuner()
signal.signal(signal.SIGTERM, signal.default_int_handler)
config = Path(sys.argv[1])
runs = config.parent / "runs"
experiment = resume_experiment(sys.argv[2], runs) if sys.argv[2:] else start_experiment(config, runs)
def follow(trials):
    known = [{**asdict(trial), "folder": str(experiment.trial_directory(trial))} for trial in trials]
    print(json.dumps({"id": experiment.id, "port": experiment.port, "trials": known}), flush=True)
try:
    wait(experiment, follow, poll_s=0.5)
finally:
    experiment.stop()
"""
TASK = """
backbone: resnet8
space: {width: 0.125, stem: plain}
data: {name: digits, image_size: 6, test_images: 100}
search: {epochs: 2, warmup_epochs: 1, alpha_learning_rate: 0.5}
training: {epochs: 2, batch_size: 32}
calibration_images: 64
"""


def write_experiment(folder: Path, hosts: Hosts, command: str, trials: int) -> Path:
    config = {
        "experimentName": "remote",
        "trialCommand": command,
        "trialCodeDirectory": "code",
        "experimentWorkingDirectory": "runs",
        "trialConcurrency": len(hosts.hosts),
        "maxTrialNumber": trials,
        "searchSpace": {"latency_weight": {"_type": "loguniform", "_value": [0.01, 1.0]}},
        "tuner": {"name": "ParetoTuner", "classArgs": {"spread": trials}},
        "nniManagerIp": "127.0.0.1",
        "trainingService": {"platform": "remote", "machineList": hosts.machine_list()},
    }
    (folder / "code").mkdir(exist_ok=True)
    (folder / "experiment.yml").write_text(yaml.safe_dump(config))
    return folder / "experiment.yml"


@contextmanager
def following(hosts: Hosts, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = hosts.command([sys.executable, "-c", FOLLOWER, *arguments])
    environment = {**hosts.environment(), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def look_until(process: subprocess.Popen[str], enough: Callable[[list[dict[str, Any]]], bool]) -> dict[str, Any]:
    """The first look at the experiment at which its trials are as they should be."""
    assert process.stdout is not None
    for line in process.stdout:
        seen: dict[str, Any] = json.loads(line)
        if enough(seen["trials"]):
            return seen
    raise AssertionError("the experiment ended first")


def ended(trials: list[dict[str, Any]]) -> int:
    return sum(trial["status"] == "SUCCEEDED" for trial in trials)


def at_work(enough: int, trials: list[dict[str, Any]]) -> bool:
    return ended(trials) >= enough and running(trials) > 0


def running(trials: list[dict[str, Any]]) -> int:
    return sum(trial["status"] == "RUNNING" and len(trial["intermediate"]) > 0 for trial in trials)


def assert_all_back_and_counted_once(seen: dict[str, Any], many: int) -> None:
    trials = seen["trials"]
    assert [trial["status"] for trial in trials] == ["SUCCEEDED"] * many
    assert [trial["number"] for trial in trials] == list(range(many))
    weights = {trial["parameters"]["latency_weight"] for trial in trials}
    assert len(weights) == many
    known = Path(trials[0]["folder"]).parents[3] / "checkpoint" / "pareto_tuner.json"
    given = json.loads(known.read_text())["tested"]
    assert weights == set(given[:many]), "the first that the tuner gave out are those that ran"
    for trial in trials:
        weight = trial["parameters"]["latency_weight"]
        assert trial["final"]["latency_weight"] == weight, "each got its own λ"
        assert trial["intermediate"] == [{"default": 0.0}, {"default": weight}]
        assert (Path(trial["folder"]) / "model.onnx").read_bytes() == repr(weight).encode() * 1000


def open_to_others(process: psutil.Process) -> list[int]:
    """Ports of this process's host, but for ssh's, that listen on anything else than 127.0.0.1."""
    ports = []
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process.pid}/net/{family}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, port = local.split(":")
            if state == "0A" and address != "0100007F" and int(port, 16) != 22:
                ports.append(int(port, 16))
    return ports


def manager_and_keepers(experiment: str) -> tuple[psutil.Process, list[psutil.Process]]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if "nni_node" in words[0] and any(experiment in one for one in words):
            found.append(process)
    keepers = [one for one in found if any("trial_keeper" in word for word in one.info["cmdline"])]
    (manager,) = [one for one in found if one not in keepers]
    return manager, keepers


@pytest.mark.timeout(400)
def test_trials_on_two_hosts_all_come_back_though_one_host_dies(tmp_path: Path) -> None:
    with hosts_of_a_manager(tmp_path, ["alpha", "beta"]) as hosts:
        config = write_experiment(tmp_path, hosts, "python trial.py 4", trials=4)
        (tmp_path / "code" / "trial.py").write_text(TRIAL)
        with following(hosts, str(config)) as process:
            seen = look_until(process, lambda trials: running(trials) == 2)
            manager, keepers = manager_and_keepers(seen["id"])
            assert len(keepers) == 2
            assert [open_to_others(one) for one in (manager, *keepers)] == [[], [], []]
            hosts.hosts[1].kill()
            seen = look_until(process, lambda trials: ended(trials) == 4)
        assert_all_back_and_counted_once(seen, 4)
        placed = [Placement.load(Path(trial["folder"])) for trial in seen["trials"]]
        assert [one.machine for one in placed if one] == [hosts.hosts[0].address] * 4
        assert sorted(one.starts for one in placed if one) == [1, 1, 1, 2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_manager_that_is_killed_loses_and_doubles_no_trial(tmp_path: Path) -> None:
    with hosts_of_a_manager(tmp_path, ["alpha", "beta"]) as hosts:
        config = write_experiment(tmp_path, hosts, "python trial.py 8", trials=8)
        (tmp_path / "code" / "trial.py").write_text(TRIAL)
        seen: dict[str, Any] = {}
        for enough in (2, 4):
            with following(hosts, str(config), *([seen["id"]] if seen else [])) as process:
                seen = look_until(process, partial(at_work, enough))
                manager_and_keepers(seen["id"])[0].kill()
                process.kill()
        with following(hosts, str(config), seen["id"]) as process:
            seen = look_until(process, lambda trials: ended(trials) == 8)
        assert_all_back_and_counted_once(seen, 8)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_digits_on_two_hosts_of_which_one_dies_are_those_of_a_local_run_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rrnet run` as a person starts it: eight searches, and the chosen network compiled and executed in the end."""
    with hosts_of_a_manager(tmp_path, ["alpha", "beta"]) as hosts:
        config = write_experiment(tmp_path, hosts, "OMP_NUM_THREADS=1 rrnet trial --task task.yml", trials=8)
        (tmp_path / "code" / "task.yml").write_text(TASK)
        rrnet = "from rrnet_nni.cli import main; raise SystemExit(main())"
        command = hosts.command([sys.executable, "-c", rrnet, "run", str(config), "--json", "--count", "20"])
        environment = {**hosts.environment(), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as job:
            assert job.stderr is not None
            assert job.stdout is not None
            succeeded = 0
            for line in job.stderr:
                succeeded += ": succeeded" in line
                if succeeded == 3 and hosts.hosts[1].process is not None:
                    hosts.hosts[1].kill()
                    hosts.hosts[1].process = None
            answer = json.loads(job.stdout.read())
        assert job.returncode == 0
    assert len(answer["results"]) == 8
    assert answer["same_class"] >= 0.95
    assert {result["machine"] for result in answer["results"]} == {"alpha", "beta"}
    assert main(["report", str(tmp_path / "runs" / "latest"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 8

    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    bench = workbench.prepare(load_task(tmp_path / "code" / "task.yml"))
    for number, remote in enumerate(answer["results"]):
        local = tmp_path / "local" / str(number)
        local.mkdir(parents=True)
        architecture = pipeline.search_architecture(bench, remote["latency_weight"], local)
        found = pipeline.finish(bench, architecture, local)
        for name in ("accuracy", "validation_accuracy", "fixed_point_accuracy", "latency_ms", "makespan_ms", "relus"):
            assert getattr(found, name) == remote[name]
        there = Path(remote["model"]).parent
        assert Result.load(there).model == remote["model"]
        for name in ("model.onnx", "build/server/weights.npz", "calibration.npz"):
            if (local / name).exists():
                assert (local / name).read_bytes() == (there / name).read_bytes(), (number, name)
        states = [torch.load(folder / "weights.pt", weights_only=True) for folder in (local, there)]
        for name, tensor in _tensors(states[0]).items():
            assert torch.equal(tensor, _tensors(states[1])[name]), (number, name)


def _tensors(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def test_hosts_are_skipped_with_a_reason_where_they_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not() == "hosts are namespaces, which only root can make on Linux"
