"""The task file: one YAML file that says what is searched, on which images, for which hardware.

Every verb of `rrnet` and every NNI trial reads it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.settings import Count, OpenShare, WrongSetting, check_settings, read_yaml
from rrnet_nni.evaluators.options import DataOptions, TeacherOptions, TrainingOptions
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces.names import check_backbone
from rrnet_nni.search_spaces.options import SpaceOptions
from rrnet_nni.strategies.options import SearchOptions

#: Seeds of epochs are multiples of it, and torch takes 64 bits.
LARGEST_SEED = 2**32 - 1
_FROM_DATASET = "it follows from the dataset"
_FROM_TASK = "the task's seed holds for everything"
_DERIVED = {
    **dict.fromkeys(("space.classes", "space.image_size", "space.channels"), _FROM_DATASET),
    **dict.fromkeys(("search.seed", "training.seed"), _FROM_TASK),
}


@dataclass(frozen=True)
class HardwareOptions:
    """What the network will run on: a device by name or file, and the protocol whose latency the search weighs."""

    device: str = "zcu104"
    protocol: str = "beaver-ot"


@dataclass(frozen=True)
class Task:
    """Everything that decides a result, apart from λ.

    Attributes:
        backbone: registered name.
        name: what the task is called; the file's own name where it says none.
        space: options of the backbone; classes, image size and channels follow from the dataset.
        teacher: the all-ReLU network that networks are fine-tuned from; none by default.
        calibration_images: training images that the compiler reads ranges from.
        validation_fraction: part of the training images that only decides between networks; weights never see it.
    """

    backbone: str
    data: DataOptions
    space: SpaceOptions = field(default_factory=SpaceOptions)
    search: SearchOptions = field(default_factory=SearchOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)
    calibration_images: Count = 256
    validation_fraction: OpenShare = 0.15
    seed: Annotated[int, Ge(0), Le(LARGEST_SEED)] = 0
    name: str = ""

    def __post_init__(self) -> None:
        check_settings(self)
        try:
            check_backbone(self.backbone)
        except Refusal as refusal:
            raise WrongSetting(f"backbone: {refusal}") from None


def load_task(path: Path) -> Task:
    """Read a task file; relative paths in it start from the file's own folder.

    Raises:
        Refusal: naming file, line and key.
    """
    task = read_yaml(path, Task, _DERIVED)
    root = task.data.root
    if root is not None and not Path(root).expanduser().is_absolute():
        task = replace(task, data=replace(task.data, root=str(path.resolve().parent / root)))
    return replace(task, name=task.name or path.stem, hardware=_checked_hardware(task.hardware, path))


def _checked_hardware(hardware: HardwareOptions, path: Path) -> HardwareOptions:
    """Find a device file beside the task file, and refuse a device or protocol that does not exist."""
    beside = path.resolve().parent / hardware.device
    found = replace(hardware, device=str(beside)) if beside.is_file() else hardware
    try:
        load_device(found.device)
    except Refusal as refusal:
        raise Refusal(f"{path}: hardware.device: {refusal}") from None
    try:
        get_costs(found.protocol)
    except Refusal as refusal:
        raise Refusal(f"{path}: hardware.protocol: {refusal}") from None
    return found


def check_latency_weight(value: object, where: str = "the latency weight") -> float:
    """λ in 1/ms as a float; NNI hands 0.0 over as the int 0.

    Raises:
        Refusal: it is not a finite number of at least zero.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise Refusal(f"{where} must be a finite number of at least 0 (in 1/ms), not {value!r}")
    return float(value)
