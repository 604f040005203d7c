"""ParetoTuner at real work: an NNI experiment is created, stopped in the middle, resumed, and its front is reported.

    python benchmarks/search/front_experiment.py [EXPERIMENT] [--images DIR] [--stop-after 6] [-o FILE.json]

EXPERIMENT is a configuration of `nnictl create` (default: examples/cifar10_front_experiment.yml, about 45 minutes on
two cores). It is run from a copy of its folder. With --directory DIR the same command goes on with the experiment that
DIR holds. The result holds every trial, in order, and which are on the front:
those that no other trial beats in both validation accuracy and latency. Every trained network is judged on all test
images too, which nothing was chosen by.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from rrnet_nni.architecture import Architecture
from rrnet_nni.base.files import whole_file, write_whole_json
from rrnet_nni.evaluators.accuracy import evaluate
from rrnet_nni.evaluators.images.data import load_dataset
from rrnet_nni.experiments.nni_manager import Experiment, resume_experiment, start_experiment, wait
from rrnet_nni.experiments.trials import Trial
from rrnet_nni.experiments.tuners import register_tuner
from rrnet_nni.pipeline import ARCHITECTURE, WEIGHTS
from rrnet_nni.strategies.pareto_front import Point, pareto_front
from rrnet_nni.task import Task, load_task
from rrnet_nni.trained import load_trained

ROOT = Path(__file__).parents[2]
EXPERIMENT = ROOT / "examples" / "cifar10_front_experiment.yml"
#: What of a trial's final result is reported.
REPORTED = ("fixed_point_test_accuracy", "relus", "comparisons", "expected_latency_ms")


def main() -> None:
    options = parse()
    folder = Path(tempfile.mkdtemp(prefix="front-")) if options.directory is None else options.directory
    configuration = prepare(options.experiment, folder, options.images)
    started = time.monotonic()
    trials = stopped_and_resumed(configuration, folder / "runs", options.stop_after, options.timeout_s)
    report = summary(trials)
    judge(report, folder, load_task(options.experiment.parent / task_of(options.experiment)), options.images)
    report["experiment"] = yaml.safe_load(options.experiment.read_text())
    report["task"] = yaml.safe_load((options.experiment.parent / task_of(options.experiment)).read_text())
    report["stopped_after"] = options.stop_after
    report["seconds"] = round(time.monotonic() - started)
    if options.output:
        write_whole_json(options.output, report)
    print(table(report))


def prepare(experiment: Path, folder: Path, images: Path | None) -> Path:
    """Copy the experiment's folder, with working directory and image folder set; returns the configuration.

    A copy that is there already stays: an experiment goes on with what it began with.
    """
    code = folder / "experiment"
    if (code / experiment.name).exists():
        return code / experiment.name
    shutil.copytree(experiment.parent, code, dirs_exist_ok=True)
    configuration = yaml.safe_load(experiment.read_text())
    configuration["experimentWorkingDirectory"] = str(folder / "runs")
    configuration["trialCodeDirectory"] = str(code)
    if images is not None:
        configuration["trialCommand"] += f" --images {images.resolve()}"
    with whole_file(code / experiment.name) as unfinished:
        unfinished.write_text(yaml.safe_dump(configuration))
    return code / experiment.name


def stopped_and_resumed(configuration: Path, runs: Path, stop_after: int, timeout_s: float) -> list[Trial]:
    """Trials of an experiment that is created, stopped once `stop_after` have ended, and resumed to its end.

    One that `runs` holds already is resumed at once.
    """
    register_tuner()
    deadline = time.monotonic() + timeout_s
    if (begun := begun_before(runs)) is not None:
        return resumed(begun, runs, deadline)
    experiment: Experiment = start_experiment(configuration, runs)
    print(f"experiment {experiment.id}, {experiment.web_ui}", flush=True)
    try:
        while len(finished(experiment.trials())) < stop_after:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{stop_after} trials did not end within {timeout_s:.0f} s")
            time.sleep(2.0)
    finally:
        experiment.stop()
    print(f"stopped after {stop_after} trials", flush=True)
    return resumed(experiment.id, runs, deadline)


def begun_before(runs: Path) -> str | None:
    """The id of the experiment that a folder holds, if any."""
    found = [path.parent.name for path in runs.glob("[!_]*/db") if path.is_dir()]
    if len(found) > 1:
        raise SystemExit(f"{runs} holds {len(found)} experiments: give another --directory")
    return found[0] if found else None


def resumed(experiment_id: str, runs: Path, deadline: float) -> list[Trial]:
    """Resume an experiment and wait for its last trial."""
    experiment = resume_experiment(experiment_id, runs)
    print(f"resumed, {experiment.web_ui}", flush=True)
    try:
        return wait(experiment, lambda trials: None, timeout_s=deadline - time.monotonic())
    finally:
        experiment.stop()


def finished(trials: list[Trial]) -> list[Trial]:
    """Those with a final result."""
    return [trial for trial in trials if trial.final]


def point_of(trial: Trial) -> Point:
    return Point(trial.final["default"], trial.final["latency_ms"], float(trial.parameters["latency_weight"]))


def summary(trials: list[Trial]) -> dict[str, Any]:
    """Every trial in order of creation, and whether the front has its network; two λ may have found the same one."""
    front = {(point.accuracy, point.latency_ms) for point in pareto_front([point_of(t) for t in finished(trials)])}
    rows = [
        {
            "trial": trial.number,
            "id": trial.id,
            "status": trial.status,
            "latency_weight": float(trial.parameters["latency_weight"]),
            **(_measured(trial.final, front) if trial.final else {}),
        }
        for trial in trials
    ]
    return {"front_points": len(front), "trials": rows}


def _measured(final: Mapping[str, Any], front: set[tuple[float, float]]) -> dict[str, Any]:
    on_front = (final["default"], final["latency_ms"]) in front
    shown = {name: final[name] for name in REPORTED if name in final}
    return {"validation_accuracy": final["default"], "latency_ms": final["latency_ms"], "on_front": on_front, **shown}


def judge(report: Mapping[str, Any], folder: Path, task: Task, images: Path | None) -> None:
    """Add the accuracy of every trained network on all test images, which neither λ nor the front was chosen by."""
    data = replace(task.data, test_images=None)
    dataset = load_dataset(data if images is None else replace(data, name="folder", root=str(images.absolute())))
    for row in report["trials"]:
        if "latency_ms" in row:
            (trial,) = folder.glob(f"runs/[!_]*/environments/*/trials/{row['id']}")
            network = load_trained(Architecture.load(trial / ARCHITECTURE), trial / WEIGHTS)
            row["accuracy"] = evaluate(network, dataset).accuracy
            row["test_images"] = len(dataset.test_labels)


def task_of(experiment: Path) -> str:
    """Name of the task file that the trials of an experiment read."""
    words = str(yaml.safe_load(experiment.read_text())["trialCommand"]).split()
    return words[words.index("--task") + 1]


def table(report: Mapping[str, Any]) -> str:
    """The trials with a result by latency, as Markdown; the front's are marked."""
    rows = sorted((row for row in report["trials"] if "latency_ms" in row), key=lambda row: float(row["latency_ms"]))
    lines = [
        "| λ 1/ms | latency ms | ReLUs | validation % | test % | on the front |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        accuracies = f"{100 * row['validation_accuracy']:.2f} | {100 * row['accuracy']:.1f}"
        on_front = "yes" if row["on_front"] else ""
        lines.append(
            f"| {row['latency_weight']:.4g} | {row['latency_ms']:.3f} | {row['relus']:,} | {accuracies} | {on_front} |"
        )
    return "\n".join([*lines, f"{report['front_points']} distinct points on the front of {len(rows)} trials"])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", type=Path, default=EXPERIMENT)
    parser.add_argument("--images", type=Path, help="a folder of images for `rrnet trial --images`")
    parser.add_argument("--stop-after", type=int, default=6, help="trials that end before the experiment is stopped")
    parser.add_argument("--timeout-s", type=float, default=7200.0)
    parser.add_argument("--directory", type=Path, help="where the experiment is kept (default: a new temporary folder)")
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
