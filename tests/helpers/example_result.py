"""A result of a trial with every field filled in."""

from __future__ import annotations

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
