"""The settings that a search folder was filled with: a search that goes on must be the same search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.kept_settings import read_settings, refuse_other_settings
from rrnet_nni.evaluators.teaching.initial_weights import weights_hash

from .candidates import CANDIDATES_NAME
from .checkpoint import CHECKPOINT_NAME, HARMLESS_OPTIONS
from .knapsack_search import DISTORTIONS_NAME
from .options import SearchOptions
from .problem import SearchProblem

SETTINGS_NAME = "search_settings.json"
_HARMLESS = frozenset(f"search.{name}" for name in HARMLESS_OPTIONS)
#: What a search answers for itself: see `SearchProblem.training`.
_REPLACED = frozenset({"training.epochs", "training.seed"})


def keep_settings(problem: SearchProblem, options: SearchOptions, run_dir: Path) -> None:
    """Note the settings in `run_dir`, or refuse others than those that what it holds was made with.

    Images and seed of the split are not among them: `search_split.json` has their hash.

    Raises:
        Refusal: naming the file and the first setting that differs, or that the file is damaged.
    """
    path = run_dir / SETTINGS_NAME
    settings = _settings(problem, options)
    names = (CHECKPOINT_NAME, CANDIDATES_NAME, DISTORTIONS_NAME)
    begun = [run_dir / name for name in names if (run_dir / name).exists()]
    if begun and path.exists():
        refuse_other_settings(str(begun[0]), read_settings(path), settings, _HARMLESS)
    write_whole_json(path, settings)


def _settings(problem: SearchProblem, options: SearchOptions) -> dict[str, Any]:
    """Everything that a search depends on but the images, under flat names."""
    settings = {
        "backbone": problem.backbone,
        "space": problem.space.to_dict(),
        "search": asdict(options),
        "training": asdict(problem.training),
        "initial weights": weights_hash(problem.initial_weights),
        "milliseconds": {label: dict(prices) for label, prices in problem.latency.milliseconds.items()},
        "messages": {activation: dict(shared.milliseconds) for activation, shared in problem.latency.messages.items()},
    }
    return {name: value for name, value in _flat(settings) if name not in _REPLACED}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat
