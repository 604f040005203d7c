"""What a task needs in memory before anything is searched or trained."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import ImageDataset, Images, holdout, load_dataset
from rrnet_nni.evaluators.space_operators import SpaceOperators, describe_space
from rrnet_nni.fpga.cost import LatencyTable, build_lut
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import comparison_count, relu_count
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions

from .task import Task

#: Two for each half of a search: a batch of one has no statistics for BatchNorm.
LEAST_IMAGES = 4


@dataclass(frozen=True)
class Workbench:
    """What a task needs in memory: the images, the space as operators, and its latency table.

    `dataset.train_images` are those that weights may learn from; `validation` decides between networks.
    """

    task: Task
    dataset: ImageDataset
    validation: tuple[Images, torch.Tensor]
    space: SpaceOptions
    operators: SpaceOperators
    table: LatencyTable

    @property
    def latency(self) -> ExpectedLatency:
        return ExpectedLatency.of_space(self.operators, self.table)

    @property
    def images(self) -> dict[str, Any]:
        """What a network that learns here knows of its images, as plain values."""
        images: dict[str, Any] = json.loads(self.dataset.image_format(self.task.name).to_json())
        return images

    def counts(self, choices: Mapping[str, str]) -> tuple[int, int]:
        """(ReLUs, comparisons) of one architecture and one image."""
        shapes = [self.operators.choices[label][choices[label]] for label in self.operators.choices]
        shapes += [fixed.shape for fixed in self.operators.fixed]
        return sum(map(relu_count, shapes)), sum(map(comparison_count, shapes))

    def check_images(self, space: SpaceOptions, what: str) -> None:
        """Refuse `what`, whose backbone has the options `space`, where it is made for images of another kind."""
        for name in ("classes", "image_size", "channels"):
            its_own, given = getattr(space, name), getattr(self.space, name)
            if its_own != given:
                raise Refusal(f"{what} has {name} {its_own}, the task's images have {given}")


def training_device() -> torch.device:
    """The GPU that this process may use, the first where it may use several; else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def device_name(device: torch.device) -> str:
    """A device as a person would name it: which GPU of the machine, where NNI lets a trial see only some."""
    if device.type != "cuda":
        return device.type
    seen = [number for number in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if number]
    index = device.index or 0
    return f"GPU {seen[index] if index < len(seen) else index}, {torch.cuda.get_device_name(device)}"


def prepare(task: Task, cache_dir: Path | None = None) -> Workbench:
    """Load the images and price the space.

    Raises:
        Refusal: the dataset is missing or too small, or the backbone cannot take its images.
    """
    whole = load_dataset(task.data).to(training_device())
    dataset, validation = holdout(whole, task.validation_fraction, task.seed)
    for_training, for_validation = len(dataset.train_labels), len(validation[1])
    if for_training < LEAST_IMAGES or for_validation < 1:
        raise Refusal(
            f"validation_fraction {task.validation_fraction:g} of {len(whole.train_labels)} training images leaves "
            f"{for_training} for training and {for_validation} for validation: {LEAST_IMAGES} and 1 are needed"
        )
    space = replace(task.space, classes=dataset.classes, image_size=dataset.image_size, channels=dataset.channels)
    operators = describe_space(task.backbone, space)
    device, protocol = load_device(task.hardware.device), get_costs(task.hardware.protocol)
    table = build_lut(operators.choices, operators.fixed, device, protocol, cache_dir, operators.slices)
    return Workbench(task, dataset, validation, space, operators, table)
