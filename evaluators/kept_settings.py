"""What a folder was filled with: work that goes on from it must be the same work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.tensor_file import UnreadableTensors, read_tensors


def read_checkpoint(path: Path, work: str, *keys: str) -> dict[str, Any]:
    """A checkpoint of `work` (as `a search`) that holds `keys`, loaded without executing code.

    Raises:
        Refusal: naming the file, where it is damaged or something else.
    """
    try:
        checkpoint = read_tensors(path)
    except (FileNotFoundError, UnreadableTensors) as error:
        found = str(error)
    else:
        if isinstance(checkpoint, dict) and set(keys) <= set(checkpoint):
            return checkpoint
        found = f"a {type(checkpoint).__name__} of something else"
    raise Refusal(f"{path} is not a readable checkpoint of {work} ({found}): remove it to start anew")


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
