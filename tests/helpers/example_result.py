"""A result of a trial with every field filled in, and the report of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rrnet_nni.architecture import Architecture
from rrnet_nni.reports.agreement import compare_logits
from rrnet_nni.reports.report import ExecutedBatch, Report
from rrnet_nni.reports.results import Result

RESULT = Result(
    backbone="resnet8",
    accuracy=0.97,
    validation_accuracy=0.98,
    fixed_point_accuracy=0.97,
    expected_latency_ms=2.0,
    latency_ms=1.5,
    makespan_ms=1.1,
    relus=100,
    comparisons=150,
    all_relu_comparisons=1000,
    latency_weight=0.1,
    seed=0,
    exploded_images=0,
    strategy="rrnet",
    architecture="architecture.json",
    checkpoint="weights.pt",
    model="model.onnx",
    build="build",
    duration_s=1.0,
)

ANSWER = {
    "online_s": 1.5,
    "offline_s": 0.5,
    "bytes_sent": [1000, 2000],
    "predicted_bytes": [1000, 2000],
    "rounds": 12,
    "preprocessing": "dealer",
}

GATES = tuple(f"layer{stage}.{block}.act{number}" for stage in (1, 2) for block in (0, 1) for number in (1, 2))


def example_report(folder: Path, *results: Result) -> Report:
    """A run of two networks, or of `results`, each in a folder of its own below `folder`; the first is chosen."""
    results = results or (RESULT, replace(RESULT, latency_ms=3.0, accuracy=0.99, latency_weight=0.0))
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.2, 0.1]])
    agreement = compare_logits(logits, logits + np.array([[0.0, 0.1], [0.0, -0.3], [-0.2, 0.0]]))

    def theta(relu: float) -> dict[str, dict[str, float]]:
        probabilities = {gate: {"relu": relu, "x2act": 1 - relu} for gate in GATES}
        return {**probabilities, "stem.pool": {"maxpool": 1 - relu, "avgpool": relu}}

    search = tuple({"epoch": epoch, "theta": theta(0.5 - 0.2 * epoch)} for epoch in range(3))
    choices = {**dict.fromkeys(GATES, "x2act"), "stem.pool": "maxpool"}
    architecture = Architecture("resnet8", {}, choices, theta(0.1))
    return Report(
        "A <run>",
        results,
        (search, *[()] * (len(results) - 1)),
        (architecture,) * len(results),
        tuple(folder / f"run{number}" for number in range(len(results))),
        chosen=0,
        execution=ExecutedBatch.of(agreement, ANSWER, "beaver-ot"),
        links={"model": str(folder / "model.onnx"), "build": str(folder / "run0" / "build")},
    )
