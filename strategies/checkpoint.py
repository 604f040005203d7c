"""The state of a search on disk: written whole or not at all, and enough to go on bit by bit."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer

from ..fpga.errors import Refusal

CHECKPOINT_NAME = "search.ckpt"
#: Options that decide how long a search goes on or what it shows, and not what it finds on the way.
HARMLESS_OPTIONS = frozenset({"tensorboard", "budget_s", "candidates"})


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write α, ω, both optimizers, schedulers, random state and epoch; a kill leaves the last whole checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    trainer.save_checkpoint(temporary)
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)


def check_readable(path: Path) -> None:
    """Refuse a checkpoint that no search can go on from.

    Raises:
        Refusal: naming the file.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        found = type(error).__name__
    else:
        keys = {"rrnet_search", "state_dict", "optimizer_states", "epoch"}
        if isinstance(checkpoint, dict) and keys <= set(checkpoint):
            return
        found = f"a {type(checkpoint).__name__} of something else"
    raise Refusal(f"{path} is not a readable checkpoint of a search ({found}): remove it to start anew")


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a folder was filled with.

    Raises:
        Refusal: naming the file, where it is damaged.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal(f"{path} is not readable ({type(error).__name__}): remove its folder to start anew") from None
    if not isinstance(kept, dict):
        raise Refusal(f"{path} holds no settings: remove its folder to start anew")
    return kept


def refuse_other_settings(
    where: str, kept: Mapping[str, Any], settings: Mapping[str, Any], harmless: frozenset[str] = frozenset()
) -> None:
    """Refuse to go on with other settings than those that were kept, which would answer for these with those.

    Raises:
        Refusal: naming `where` and the first setting that differs.
    """
    for name, value in settings.items():
        if name not in harmless and kept.get(name) != value:
            raise Refusal(f"{where} was written with {name} {kept.get(name)!r}, not {value!r}: remove it to start anew")


def random_states() -> dict[str, Any]:
    """The state of every global generator, as tensors and plain numbers."""
    version, keys, gauss = random.getstate()
    # Data loaders written for NNI may draw from NumPy's global generator, so its state belongs to the search.
    name, numpy_keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": [version, list(keys), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(numpy_keys, dtype=np.int64)), position, has_gauss, cached],
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Set every global generator to what `random_states` saw."""
    torch.set_rng_state(states["torch"].cpu())
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    name, numpy_keys, position, has_gauss, cached = states["numpy"]
    restored = (name, numpy_keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached)
    np.random.set_state(restored)  # noqa: NPY002
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
