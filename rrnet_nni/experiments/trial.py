"""One NNI trial: the tuner's λ in, epochs and the final result out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nni

from rrnet_nni.base.compatibility import ManagerChannel
from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import output_folder
from rrnet_nni.strategies import EpochRecord

from .. import pipeline
from ..reports.results import Result
from ..task import Task, check_latency_weight
from ..workbench import prepare


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

    architecture = pipeline.search_architecture(bench, weight, directory, report)
    result = pipeline.finish(bench, architecture, directory, **pipeline.teacher_of(bench))
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


def final_metrics(result: Result) -> dict[str, float]:
    """What the tuner and the web UI get in the end; `default` is the validation accuracy, never the test accuracy."""
    shown = {
        "default": result.validation_accuracy,
        "accuracy": result.accuracy,
        "fixed_point_accuracy": result.fixed_point_accuracy,
        "latency_ms": result.latency_ms,
        "expected_latency_ms": result.expected_latency_ms,
        "relus": result.relus,
        "comparisons": result.comparisons,
        "latency_weight": result.latency_weight,
    }
    return {name: value for name, value in shown.items() if value is not None}
