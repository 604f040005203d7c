"""The state of a search on disk: written whole or not at all, and enough to go on bit by bit."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer

from ..fpga.errors import Refusal
from .options import SearchOptions

CHECKPOINT_NAME = "search.ckpt"
#: Settings that do not change what a gradient search finds.
_HARMLESS = frozenset({"tensorboard", "budget_s", "candidates", "candidate_epochs"})


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write α, ω, both optimizers, schedulers, random state and epoch; a kill leaves the last whole checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    trainer.save_checkpoint(temporary)
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)


def check_same_options(path: Path, options: SearchOptions) -> None:
    """Refuse a checkpoint of a search with other settings, which would go on with those and answer for these.

    Raises:
        Refusal: naming the file and the setting, or that the file is damaged.
    """
    try:
        made_with = torch.load(path, map_location="cpu", weights_only=True)["rrnet_search"]["options"]
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise Refusal(
            f"{path} is not a readable checkpoint of a search ({type(error).__name__}): remove it to start anew"
        ) from None
    for name, value in options.to_dict().items():
        was = made_with.get(name)
        if was != value and name not in _HARMLESS:
            raise Refusal(f"{path} was written with {name} {was!r}, not {value!r}: remove it to start anew")


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
