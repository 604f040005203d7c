"""After the trials: the table, the choice, its export, build and execution by two parties, the report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from rrnet_nni.base.console import BAD_USAGE
from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.tables import watched_table
from rrnet_nni.fpga.protocols import get_costs

from ..reports.agreement import Agreement, compare_logits, onnx_logits
from ..reports.report import ExecutedBatch, Report, collect
from ..reports.report_page import save_report, trial_bodies
from ..reports.results import RESULT_FILE, Result, choose, format_weight, results_on_front
from .trials import Trial, TrialFolders, last_error

if TYPE_CHECKING:
    from rich.table import Table


def finish(
    experiment: TrialFolders, trials: Sequence[Trial], directory: Path, images: int, console: Console
) -> dict[str, Any]:
    """Everything after the search: table, choice, export, build, execution, report."""
    succeeded = [trial for trial in trials if (experiment.trial_directory(trial) / RESULT_FILE).exists()]
    for trial in trials:
        if trial not in succeeded:
            log = experiment.trial_directory(trial)
            said = escape(last_error(log))
            why = f": {said}" if said else ""
            console.print(f"[red]trial {trial.number} ended as {trial.status}{why}; its log is in {log}[/red]")
    if not succeeded:
        raise ExecutionFault("no trial succeeded")
    directory.mkdir(parents=True, exist_ok=True)
    report = collect(f"RRNet, experiment {experiment.id}", [experiment.trial_directory(trial) for trial in succeeded])
    chosen = choose(report.results)
    report = replace(report, chosen=report.results.index(chosen))
    console.print(pareto_table(report))

    model = _copy(Path(chosen.model), directory / "model.onnx")
    _copy(Path(chosen.architecture), directory / "architecture.json")
    if chosen.uncompiled is not None:
        return _without_build(report, directory, chosen.uncompiled, model, console, experiment.id)
    with ThreadPoolExecutor(1) as meanwhile:  # what computes below are other processes
        bodies = meanwhile.submit(trial_bodies, report)
        build = _compile(model, Path(chosen.architecture), directory / "build", console)
        inputs = Path(chosen.architecture).with_name("test_images.npz")
        execution = execute(model, build, inputs, images, directory, console)
    links = {"report": str(directory / "report.html"), "model": str(model), "build": str(build)}
    report = replace(report, execution=execution, links=links)
    save_report(report, directory, bodies.result())
    for name, path in links.items():
        console.print(f"{name + ':':8} {os.path.relpath(path)}")
    return {
        "experiment": experiment.id,
        "results": [result.to_dict() for result in report.results],
        "chosen": report.chosen,
        "same_class": execution.same_class,
        "worst_difference": execution.worst_difference,
        **links,
    }


def _compile(model: Path, architecture: Path, build: Path, console: Console) -> Path:
    calibration = architecture.with_name("calibration.npz")
    compiled = run_json(
        "rrnet-2pc-compile",
        [str(model), "-o", str(build), "--calibrate", str(calibration), *_hardware(architecture)],
    )
    console.print(
        f"compiled: {compiled['instructions']:,} instructions, {compiled['makespan_ms']:.2f} ms on the device pair "
        f"(operator by operator {compiled['operator_sum_ms']:.2f} ms)"
    )
    return build


def _without_build(
    report: Report, directory: Path, why: str, model: Path, console: Console, experiment_id: str
) -> dict[str, Any]:
    """What is left to tell where no trial's network could be compiled."""
    console.print(f"[yellow]no network could be compiled, and so none executed: {escape(why)}[/yellow]")
    links = {"report": str(directory / "report.html"), "model": str(model)}
    save_report(replace(report, links=links), directory)
    results = [result.to_dict() for result in report.results]
    return {"experiment": experiment_id, "results": results, "chosen": report.chosen, "uncompiled": why, **links}


def execute(model: Path, build: Path, inputs: Path, images: int, directory: Path, console: Console) -> ExecutedBatch:
    """Run test images through two parties and compare with onnxruntime on the exported model."""
    stored = np.load(inputs)
    batch = stored["image"][:images]
    np.save(directory / "images.npy", batch)
    protocol = executed_protocol(json.loads((build / "report.json").read_text())["protocol"])
    answer = run_json("rrnet-2pc-run", [str(build), "--input", str(directory / "images.npy"), "--protocol", protocol])
    logits = np.asarray(answer["logits"], dtype=np.float64).reshape(len(batch), -1)
    np.save(directory / "logits.npy", logits)
    agreement: Agreement = compare_logits(onnx_logits(model, batch), logits)
    execution = ExecutedBatch.of(agreement, answer, protocol)
    sent = sum(execution.bytes_sent)
    console.print(
        f"two parties classified {len(batch)} test images: {execution.same_class:.1%} like onnxruntime, largest "
        f"difference of a logit {execution.worst_difference:.4f}, {execution.online_s:.1f} s online, {sent:,} bytes, "
        f"preprocessing by a {execution.preprocessing} {execution.offline_s:.1f} s"
    )
    return execution


def executed_protocol(name: str) -> str:
    """The protocol of the build where it can be executed; a mere cost model (`paper`) is executed as `beaver-ot`."""
    return name if get_costs(name).executable else "beaver-ot"


def pareto_table(report: Report) -> Table:
    """The table of all trials by latency; the front and the chosen trial are marked."""
    front = results_on_front(report.results)
    order = sorted(report.results, key=lambda result: result.latency_ms)
    chosen = report.results[report.chosen] if report.chosen is not None else None
    return watched_table(
        "Accuracy against 2PC latency (* on the Pareto front, > chosen)",
        ("", "λ [1/ms]", "test accuracy", "fixed point", "latency [ms]", "ReLUs", "comparisons"),
        [_table_row(result, result is chosen, result in front) for result in order],
    )


def _table_row(result: Result, chosen: bool, on_front: bool) -> list[str]:
    return [
        (">" if chosen else "") + ("*" if on_front else ""),
        format_weight(result.latency_weight),
        f"{100 * result.accuracy:.1f} %",
        "–" if result.fixed_point_accuracy is None else f"{100 * result.fixed_point_accuracy:.1f} %",
        f"{result.latency_ms:.3f}",
        f"{result.relus:,}",
        f"{result.comparisons:,}",
    ]


def run_json(command: str, arguments: Sequence[str], *, captured: bool = False) -> dict[str, Any]:
    """Run one of the project's command lines with `--json`.

    Args:
        captured: keep its words until its end, and raise what it refuses as a `Refusal`; else they go to our standard
            error at once.

    Raises:
        ExecutionFault: it did not end with status 0.
    """
    script, stderr = Path(sys.executable).with_name(command), subprocess.PIPE if captured else None
    finished = subprocess.run([str(script), *arguments, "--json"], stdout=subprocess.PIPE, stderr=stderr, text=True)
    said = finished.stderr or ""
    if finished.returncode != 0:
        sentence = said.strip().rsplit("\n", 1)[-1].removeprefix(f"{command}: ")
        kind = Refusal if captured and finished.returncode == BAD_USAGE else ExecutionFault
        raise kind(sentence or f"{command} ended with status {finished.returncode}")
    sys.stderr.write(said)
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def _hardware(architecture: Path) -> list[str]:
    document = json.loads(architecture.read_text())
    return ["--device", document["device"], "--protocol", document["protocol"]]


def _copy(source: Path, destination: Path) -> Path:
    shutil.copyfile(source, destination)
    return destination


def point_latest(working_directory: Path, directory: Path) -> None:
    """`runs/latest` leads to the newest result."""
    link = working_directory / "latest"
    temporary = working_directory / f".latest-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(directory, working_directory))
    os.replace(temporary, link)
