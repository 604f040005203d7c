"""architecture.json: what a search found, enough to rebuild the network without NNI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import __version__
from .files import write_atomically
from .fpga.errors import Refusal

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Architecture:
    """One derived architecture.

    Attributes:
        backbone: registered name of the backbone.
        options: its options as plain values (see `search_spaces.SpaceOptions`).
        choices: label of every gate -> the chosen candidate.
        theta: label -> candidate -> probability at the end of the search; empty for fixed choices.
        latency_weight: λ in 1/ms, None where no search was made.
        expected_latency_ms: Lat(α) at the end of the search (Sec. III-C).
        latency_ms: the same sum for the chosen candidates alone.
    """

    backbone: str
    options: Mapping[str, Any]
    choices: Mapping[str, str]
    theta: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    latency_weight: float | None = None
    strategy: str | None = None
    seed: int | None = None
    device: str | None = None
    protocol: str | None = None
    expected_latency_ms: float | None = None
    latency_ms: float | None = None
    relus: int | None = None
    comparisons: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        document = {"schema": SCHEMA_VERSION, **asdict(self)}
        write_atomically(path, json.dumps(document, indent=2, sort_keys=False).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Architecture:
        """Read an architecture.json.

        Raises:
            Refusal: the file is missing, is not JSON, or is not an architecture.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise Refusal(f"{path}: there is no such file") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise Refusal(f"{path}: not a readable JSON file ({error})") from None
        if not isinstance(document, dict) or document.get("schema") != SCHEMA_VERSION:
            raise Refusal(f"{path}: not an architecture of schema {SCHEMA_VERSION}")
        known = {item.name for item in fields(cls)}
        values = {key: value for key, value in document.items() if key != "schema"}
        if unknown := sorted(set(values) - known):
            raise Refusal(f"{path}: unknown key {unknown[0]!r}")
        if missing := sorted({"backbone", "options", "choices"} - set(values)):
            raise Refusal(f"{path}: the key {missing[0]!r} is missing")
        choices = values["choices"]
        if not isinstance(choices, dict) or not all(isinstance(chosen, str) for chosen in choices.values()):
            raise Refusal(f"{path}: 'choices' must map labels to the names of candidates")
        return cls(**values)


def installed_versions() -> dict[str, str]:
    """Versions of what decides a result: this package and the libraries under it."""
    found = {"rrnet-nni": __version__}
    for name in ("nni", "torch", "pytorch-lightning", "numpy", "onnx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
