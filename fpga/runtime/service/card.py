"""A model's card: how pixels become what the model expects, and what its classes are called. Public, and optional."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrnet_nni.base.errors import Refusal

CARD = "card.json"


@dataclass(frozen=True)
class Card:
    """Per channel, a pixel x in 0..1 is given to the model as (x − mean) / std; empty where that is not known."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std), "classes": list(self.classes)}


def card_path(build: Path) -> Path:
    """Where the card of a build lies: beside the build directory, whose files are all listed and checked."""
    return build.resolve().with_name(f"{build.resolve().name}.{CARD}")


def read_card(build: Path) -> Card:
    """The card of a build, or an empty one where there is none.

    Raises:
        Refusal: what lies there is no card.
    """
    path = card_path(build)
    try:
        document = json.loads(path.read_text())
        return Card(
            tuple(map(float, document["mean"])),
            tuple(map(float, document["std"])),
            tuple(map(str, document["classes"])),
        )
    except FileNotFoundError:
        return Card()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path} is not a card with the lists mean, std and classes") from error
