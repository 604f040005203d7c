"""What the training in a folder is of: one that goes on from its checkpoint must be the same training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.kept_settings import read_settings, refuse_other_settings
from rrnet_nni.evaluators.teaching.initial_weights import weights_hash

from .architecture import Architecture

SETTINGS_NAME = "training_settings.json"


def keep_training_settings(
    directory: Path,
    checkpoint: Path,
    architecture: Architecture,
    images_hash: str,
    teacher: Mapping[str, torch.Tensor] | None,
    initial_weights: Mapping[str, torch.Tensor] | None,
) -> None:
    """Note in `directory` what is trained, or refuse anything else than `checkpoint` was written with.

    Its `TrainingOptions` the checkpoint knows by itself.

    Args:
        images_hash: SHA-256 of the training images.
        teacher, initial_weights: state dicts, None where there is none.

    Raises:
        Refusal: naming the checkpoint and what differs, or that the settings are damaged.
    """
    settings = {
        "backbone": architecture.backbone,
        **{f"space.{name}": value for name, value in architecture.options.items()},
        **{f"choices.{label}": chosen for label, chosen in architecture.choices.items()},
        "training images": images_hash,
        "teacher": weights_hash(teacher),
        "initial weights": weights_hash(initial_weights),
    }
    path = directory / SETTINGS_NAME
    if checkpoint.exists() and path.exists():
        refuse_other_settings(str(checkpoint), read_settings(path), settings)
    write_whole_json(path, settings)
