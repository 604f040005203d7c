"""Eight searches on one host and on two, one core each: how much shorter is the experiment?

Hosts are namespaces of this machine, each with an sshd and bound to a core of its own; the manager reaches them as it
would reach other machines. Root alone can make them:

    sudo env PYTHONPATH=tests .venv/bin/python benchmarks/search/machines.py

Takes about six minutes where nothing else runs, and needs two cores. The ratio is of one run; the order is one, two.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from helpers.hosts import hosts_of_a_manager, why_not

from rrnet_nni.base.errors import ExecutionFault
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.experiments.nni_manager import start_experiment, wait
from rrnet_nni.experiments.tuners import register_tuner

TASK = """
backbone: resnet8
space: {width: 0.25}
data: {name: digits, train_images: 400, test_images: 100}
search: {epochs: 3, warmup_epochs: 1}
training: {epochs: 3}
calibration_images: 64
"""


def seconds(folder: Path, hosts: int, trials: int) -> float:
    """How long an experiment takes from its start to the end of its last trial, on that many hosts of one core."""
    with hosts_of_a_manager(folder, [f"host{number}" for number in range(hosts)], range(hosts)) as made:
        config = {
            "trialCommand": "OMP_NUM_THREADS=1 rrnet trial --task task.yml",
            "trialCodeDirectory": "code",
            "experimentWorkingDirectory": "runs",
            "trialConcurrency": hosts,
            "maxTrialNumber": trials,
            "searchSpace": {"latency_weight": {"_type": "loguniform", "_value": [0.01, 1.0]}},
            "tuner": {"name": "ParetoTuner", "classArgs": {"spread": trials}},
            "nniManagerIp": "127.0.0.1",
            "trainingService": {"platform": "remote", "machineList": made.machine_list()},
        }
        (folder / "code").mkdir()
        (folder / "code" / "task.yml").write_text(TASK)
        (folder / "experiment.yml").write_text(yaml.safe_dump(config))
        command = made.command([sys.executable, __file__, "--follow", str(folder)])
        ran = subprocess.run(command, env=made.environment(), stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(ran.stdout.splitlines()[-1])
    if answer["succeeded"] != trials:
        raise ExecutionFault(f"{answer['succeeded']} of {trials} trials succeeded on {hosts} hosts: {answer['folder']}")
    return float(answer["seconds"])


def follow(folder: Path) -> None:
    """In the manager's place: run the experiment of a folder, and say how long it took."""
    register_tuner()
    experiment = start_experiment(folder / "experiment.yml", folder / "runs")
    started = time.monotonic()
    try:
        trials = wait(experiment, lambda trials: None)
        taken = time.monotonic() - started
    finally:
        experiment.stop()
    succeeded = sum(trial.status == "SUCCEEDED" for trial in trials)
    print(json.dumps({"seconds": taken, "succeeded": succeeded, "folder": str(experiment.directory)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("-o", "--output", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--follow", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        follow(options.follow)
        return
    if reason := why_not():
        parser.exit(2, f"{reason}\n")
    with tempfile.TemporaryDirectory() as place:
        one, two = (seconds(Path(place, str(hosts)), hosts, options.trials) for hosts in (1, 2))
    print(f"{options.trials} trials: one host {one:.1f} s, two hosts {two:.1f} s, ratio {two / one:.2f}")
    if options.output:
        write_whole_json(options.output, {"trials": options.trials, "one_s": one, "two_s": two, "ratio": two / one})


if __name__ == "__main__":
    main()
