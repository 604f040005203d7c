"""One NNI trial: the tuner's λ in, epochs and the final result out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nni

from rrnet_nni.base.compatibility import ManagerChannel
from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import output_folder
from rrnet_nni.evaluators.accuracy import evaluate
from rrnet_nni.evaluators.training import EpochProgress
from rrnet_nni.strategies import EpochRecord

from .. import pipeline
from ..architecture import Architecture
from ..reports.results import Result
from ..task import Task, check_latency_weight
from ..workbench import prepare
from .trials import final_metrics

#: Results of a training that the web UI gets, about.
TRAINING_REPORTS = 10


def run_trial(task: Task, directory: Path) -> Result:
    """Search at the λ that the manager hands over, finish the network, report all of it.

    Outside of an experiment (no manager) the task's own λ is taken and reports go to the log.

    Raises:
        Refusal: the parameters hold no valid `latency_weight`.
    """
    parameters: Any = nni.get_next_parameter() or {"latency_weight": task.search.latency_weight}
    channel = ManagerChannel.keep()
    if "latency_weight" not in parameters:
        raise Refusal("the search space of the experiment must have the parameter latency_weight")
    weight = check_latency_weight(parameters["latency_weight"], "latency_weight")
    bench = prepare(task)
    output_folder(directory)

    def report(record: EpochRecord) -> None:
        channel.report_intermediate(epoch_metrics(record))

    lesson = pipeline.teacher_of(bench)
    architecture = pipeline.search_architecture(
        bench, weight, directory, report, initial_weights=lesson.get("initial_weights")
    )

    def report_training(progress: EpochProgress) -> None:
        if not is_reported(progress.epoch, progress.epochs):
            return
        validation = evaluate(progress.network, bench.dataset, *bench.validation)
        channel.report_intermediate(training_metrics(progress, validation.accuracy, architecture))

    result = pipeline.finish(bench, architecture, directory, report_training, **lesson)
    channel.report_final(final_metrics(result))
    return result


def epoch_metrics(record: EpochRecord) -> dict[str, float]:
    """What the web UI shows of a search epoch; `default` is the validation accuracy of the mixture.

    θ of a gate is one curve per candidate but the last, whose probability is the rest.
    """
    shown = {
        "default": record.validation_accuracy or 0.0,
        "expected_latency_ms": record.expected_latency_ms,
        "latency_ms": record.latency_ms,
        "relus": record.relus,
        "comparisons": record.comparisons,
        "validation_loss": record.validation_loss,
    }
    for label, probabilities in record.theta.items():
        for candidate in list(probabilities)[:-1]:
            shown[f"theta {label} {candidate}"] = probabilities[candidate]
    return {name: value for name, value in shown.items() if value is not None}


def is_reported(epoch: int, epochs: int) -> bool:
    """Whether epoch 1..`epochs` of a training is judged on the validation images, which takes time of its own."""
    return epoch == epochs or epoch % max(1, epochs // TRAINING_REPORTS) == 0


def training_metrics(
    progress: EpochProgress, validation_accuracy: float, architecture: Architecture
) -> dict[str, float]:
    """What the web UI shows of an epoch in which the found network is trained; `default` is its validation accuracy."""
    shown = {
        "default": validation_accuracy,
        "training_loss": progress.loss,
        "latency_ms": architecture.latency_ms,
        "relus": architecture.relus,
        "comparisons": architecture.comparisons,
    }
    return {name: value for name, value in shown.items() if value is not None and math.isfinite(value)}
