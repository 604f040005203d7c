"""The all-ReLU network of a task: trained once, kept under a hash of what decides it, shared by all that learn from it.

Whoever needs it first trains it, with a checkpoint after every epoch; others who need it meanwhile wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rrnet_nni.base.array_cache import cached_arrays
from rrnet_nni.base.caches import cache_folder
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices

from ..images.data import ImageDataset
from ..images.search_split import training_images_hash
from ..options import TrainingOptions
from ..training import CHECKPOINT, EpochProgress, train_network

#: Options that an all-ReLU network without a teacher of its own does not heed: they decide nothing about it.
_UNHEEDED = (
    "x2act_factor",
    "range_weight",
    "range_bound",
    "range_onset",
    "stretch",
    "settling_epochs",
    "w1_bound",
    "distillation_weight",
    "distillation_temperature",
    "feature_weight",
)


def shared_teacher(
    backbone: str,
    space: SpaceOptions,
    dataset: ImageDataset,
    options: TrainingOptions,
    progress: Callable[[EpochProgress], None] | None = None,
    cache_dir: Path | None = None,
) -> nn.Module:
    """The trained all-ReLU network with MaxPool, from the cache where it has been trained, in eval mode.

    Args:
        options: how it is trained; `options.seed` also seeds its first weights.
        cache_dir: None for the default cache.

    Raises:
        ExecutionFault: its training diverged again and again.
    """
    space = space.uncut()  # its slices would all be ReLU
    defaults: dict[str, Any] = {field.name: field.default for field in fields(TrainingOptions)}
    options = replace(options, **{name: defaults[name] for name in _UNHEEDED})
    directory = (cache_dir or cache_folder()) / "teachers"
    key = _key(backbone, space, dataset, options)

    def train() -> dict[str, np.ndarray]:
        torch.manual_seed(options.seed)
        network = build_network(backbone, space, choices)
        train_network(network, dataset, options, checkpoint_dir=directory / key, progress=progress)
        return {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}

    choices = fixed_choices(backbone, space)
    with _alone(directory / key):
        weights = cached_arrays(directory, key, train)
        (directory / key / CHECKPOINT).unlink(missing_ok=True)
    teacher = build_network(backbone, space, choices)
    teacher.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    return teacher.eval()


def _key(backbone: str, space: SpaceOptions, dataset: ImageDataset, options: TrainingOptions) -> str:
    """A hash of everything that decides the teacher's weights, so that an option which does not never changes it."""
    heeded = {name: value for name, value in asdict(options).items() if name not in _UNHEEDED}
    made_of = {
        "backbone": backbone,
        "space": space.to_dict(),
        "training": heeded,
        "images": training_images_hash(dataset),
        "normalization": [list(dataset.mean), list(dataset.std)],
        "augmentation": asdict(dataset.augmentation),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system gives it back when a process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
