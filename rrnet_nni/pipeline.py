"""From a task and λ to a result: search, train, export, compile, accuracy under 2PC. Every step leaves its file.

architecture.json -> weights.pt -> model.onnx (+ calibration.npz, test_images.npz) -> build/ -> result.json
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import nn

from rrnet_nni.base.compatibility import interrupts_kept
from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.accuracy import Evaluation, evaluate
from rrnet_nni.evaluators.fixed_point import fixed_point_accuracy
from rrnet_nni.evaluators.images.search_split import training_images_hash
from rrnet_nni.evaluators.teaching.initial_weights import load_initial_weights
from rrnet_nni.evaluators.teaching.shared_teacher import shared_teacher
from rrnet_nni.evaluators.training import CHECKPOINT, EpochProgress, train_network
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.compiler.fixed_point.calibration import UnfitRange
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.search_spaces import build_network, candidates_of, fixed_choices
from rrnet_nni.search_spaces.build import check_choices
from rrnet_nni.strategies import EpochRecord, search

from .architecture import ARCHITECTURE, Architecture, installed_versions
from .export import export_onnx
from .reports.placement import this_machine
from .reports.results import Result
from .task import check_latency_weight
from .trained import save_weights
from .training_settings import keep_training_settings
from .workbench import Workbench, device_name

WEIGHTS, MODEL, BUILD = "weights.pt", "model.onnx", "build"
CALIBRATION, TEST_IMAGES = "calibration.npz", "test_images.npz"


class Lesson(TypedDict, total=False):
    """What a network learns from another: see `train_architecture`."""

    teacher: nn.Module | None
    initial_weights: Mapping[str, torch.Tensor] | None


def search_architecture(
    bench: Workbench,
    latency_weight: float,
    directory: Path,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    *,
    initial_weights: Mapping[str, torch.Tensor] | None = None,
) -> Architecture:
    """Search at one λ (1/ms) and write architecture.json; a search that was killed goes on where it stood.

    With `initial_weights` (a state dict of any choices of the same backbone) it starts from them.
    """
    task = bench.task
    latency_weight = check_latency_weight(latency_weight)
    options = replace(task.search, latency_weight=latency_weight, seed=task.seed)
    with interrupts_kept():
        found = search(
            *(task.backbone, bench.space, bench.dataset, bench.latency, options, task.training, directory, on_epoch),
            initial_weights=initial_weights,
        )
    architecture = describe(bench, found.choices)
    architecture = replace(
        architecture,
        theta=found.theta,
        latency_weight=latency_weight,
        strategy=found.strategy,
        expected_latency_ms=found.expected_latency_ms,
    )
    _forget_other_training(directory, architecture)
    architecture.save(directory / ARCHITECTURE)
    return architecture


def _forget_other_training(directory: Path, architecture: Architecture) -> None:
    """A rival that was given more candidates may find another network than the one that it has trained so far."""
    try:
        same = Architecture.load(directory / ARCHITECTURE).choices == architecture.choices
    except Refusal:
        same = False
    if not same:
        (directory / CHECKPOINT).unlink(missing_ok=True)


def describe(bench: Workbench, choices: Mapping[str, str]) -> Architecture:
    """An architecture with its costs, for choices from anywhere.

    Raises:
        Refusal: they are not choices of the space.
    """
    check_choices(candidates_of(bench.task.backbone, bench.space), choices)
    relus, comparisons = bench.counts(choices)
    return Architecture(
        backbone=bench.task.backbone,
        options=bench.space.to_dict(),
        choices=dict(choices),
        seed=bench.task.seed,
        device=bench.task.hardware.device,
        protocol=bench.task.hardware.protocol,
        latency_ms=bench.table.latency_ms(choices),
        relus=relus,
        comparisons=comparisons,
        versions=installed_versions(),
        images=bench.images,
    )


def priced_again(bench: Workbench, architecture: Architecture) -> Architecture:
    """An architecture from a file at the prices of this task's hardware; Lat(α) stays where they are those of its own.

    Raises:
        Refusal: its choices are not those of the space.
    """
    here = describe(bench, architecture.choices)
    same = (architecture.device, architecture.protocol) == (here.device, here.protocol)
    return replace(
        architecture,
        device=here.device,
        protocol=here.protocol,
        expected_latency_ms=architecture.expected_latency_ms if same else None,
        latency_ms=here.latency_ms,
        relus=here.relus,
        comparisons=here.comparisons,
        images=here.images,
    )


def teacher_of(bench: Workbench, progress: Callable[[EpochProgress], None] | None = None) -> Lesson:
    """What the task's networks learn from: its all-ReLU network, trained where it is not in the cache; else nothing."""
    task = bench.task
    if not task.teacher.epochs:
        return {}
    options = replace(task.teacher.training(task.training), seed=task.seed)
    with interrupts_kept():
        teacher = shared_teacher(task.backbone, bench.space, bench.dataset, options, progress)
    return {"teacher": teacher, "initial_weights": teacher.state_dict() if task.teacher.initial_weights else None}


def train_architecture(
    bench: Workbench,
    architecture: Architecture,
    directory: Path,
    progress: Callable[[EpochProgress], None] | None = None,
    *,
    initial_weights: Mapping[str, torch.Tensor] | None = None,
    teacher: nn.Module | None = None,
) -> tuple[nn.Module, Evaluation, Evaluation]:
    """Train the frozen network and write weights.pt beside its architecture.json.

    Args:
        initial_weights: a state dict to start from, of any choices of the same backbone; None starts anew.
        teacher: a trained network to distill from.

    Returns:
        the network, its evaluation on the validation images, and on the test images.

    Raises:
        Refusal: `directory` holds the training of something else, or `initial_weights` are of another network.
    """
    torch.manual_seed(bench.task.seed)
    network = build_network(architecture.backbone, architecture.space(), architecture.choices)
    if initial_weights is not None:
        load_initial_weights(network, initial_weights)
    keep_training_settings(
        directory,
        directory / CHECKPOINT,
        architecture,
        training_images_hash(bench.dataset),
        teacher.state_dict() if teacher is not None else None,
        initial_weights,
    )
    architecture.save(directory / ARCHITECTURE)
    options = replace(bench.task.training, seed=bench.task.seed)
    with interrupts_kept():
        trained = train_network(
            network, bench.dataset, options, teacher=teacher, checkpoint_dir=directory, progress=progress
        )
    save_weights(network, directory / WEIGHTS)
    return network, evaluate(network, bench.dataset, *bench.validation), trained.test


def export_trained(bench: Workbench, network: nn.Module, directory: Path) -> Path:
    """Write model.onnx, the calibration images and the test images, all as the model takes them (normalized)."""
    dataset = bench.dataset
    shape = (dataset.channels, dataset.image_size, dataset.image_size)
    path = directory / MODEL
    export_onnx(network, shape, path, dataset.image_format(bench.task.name))
    calibration = dataset.train_images[: bench.task.calibration_images]
    np.savez(directory / CALIBRATION, image=dataset.normalized(calibration).cpu().numpy())
    np.savez(
        directory / TEST_IMAGES,
        image=dataset.normalized(dataset.test_images).cpu().numpy(),
        label=dataset.test_labels.cpu().numpy(),
    )
    return path


def compile_exported(bench: Workbench, model: Path, directory: Path) -> tuple[float | None, float | None, str | None]:
    """Compile model.onnx into build/.

    Returns:
        (accuracy of the fixed-point program on the test images, makespan of its schedule in ms, None), or (None, None,
        what to do) where the network's values fit no fixed-point format, as after too short a training.
    """
    hardware = bench.task.hardware
    try:
        compile_model(model, directory / BUILD, hardware.device, hardware.protocol, directory / CALIBRATION)
    except UnfitRange as refusal:
        epochs = bench.task.training.epochs
        return None, None, f"{refusal}: train longer than {epochs} epoch{'' if epochs == 1 else 's'}"
    build = load_build(directory / BUILD)
    test = np.load(directory / TEST_IMAGES)
    accuracy = fixed_point_accuracy(build, test["image"], test["label"], seed=bench.task.seed)
    return accuracy, float(build.report["makespan_ms"]), None


def finish(
    bench: Workbench,
    architecture: Architecture,
    directory: Path,
    progress: Callable[[EpochProgress], None] | None = None,
    *,
    initial_weights: Mapping[str, torch.Tensor] | None = None,
    teacher: nn.Module | None = None,
) -> Result:
    """Train (see `train_architecture`), export and compile one architecture, and write result.json."""
    started = time.monotonic()
    network, validation, test = train_architecture(
        bench, architecture, directory, progress, initial_weights=initial_weights, teacher=teacher
    )
    model = export_trained(bench, network, directory)
    fixed_point, makespan_ms, uncompiled = compile_exported(bench, model, directory)
    assert architecture.latency_ms is not None
    assert architecture.relus is not None
    assert architecture.comparisons is not None
    result = Result(
        backbone=architecture.backbone,
        accuracy=test.accuracy,
        validation_accuracy=validation.accuracy,
        fixed_point_accuracy=fixed_point,
        expected_latency_ms=architecture.expected_latency_ms,
        latency_ms=architecture.latency_ms,
        makespan_ms=makespan_ms,
        relus=architecture.relus,
        comparisons=architecture.comparisons,
        all_relu_comparisons=bench.counts(fixed_choices(bench.task.backbone, bench.space))[1],
        latency_weight=architecture.latency_weight,
        seed=bench.task.seed,
        exploded_images=test.exploded,
        strategy=architecture.strategy,
        architecture=str(directory / ARCHITECTURE),
        checkpoint=str(directory / WEIGHTS),
        model=str(model),
        build=None if uncompiled else str(directory / BUILD),
        uncompiled=uncompiled,
        duration_s=time.monotonic() - started,
        images=bench.images,
        machine=this_machine(),
        device=device_name(bench.dataset.train_images.device),
    )
    result.save(directory)
    return result
