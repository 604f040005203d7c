"""The state of a search on disk: written whole or not at all, and enough to go on bit by bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer

from rrnet_nni.base.files import whole_file

CHECKPOINT_NAME = "search.ckpt"
#: Options that decide how long a search goes on or what it shows, and not what it finds on the way.
HARMLESS_OPTIONS = frozenset({"tensorboard", "budget_s", "candidates"})


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write α, ω, both optimizers, schedulers, random state and epoch; a kill leaves the last whole checkpoint."""
    with whole_file(path) as unfinished:
        trainer.save_checkpoint(unfinished)


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
