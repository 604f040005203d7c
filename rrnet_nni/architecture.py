"""architecture.json: what a search found, enough to rebuild the network without NNI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.base.image_format import format_of

from . import __version__

if TYPE_CHECKING:
    from rrnet_nni.search_spaces import SpaceOptions

ARCHITECTURE = "architecture.json"
SCHEMA_VERSION = 1
#: What the keys of the file hold.
_KINDS: tuple[tuple[str, tuple[type, ...], tuple[str, ...]], ...] = (
    ("text", (str,), ("backbone",)),
    ("a mapping", (dict,), ("options", "choices", "theta", "versions")),
    ("a mapping or null", (dict, type(None)), ("images",)),
    ("text or null", (str, type(None)), ("strategy", "device", "protocol")),
    ("a number or null", (int, float, type(None)), ("latency_weight", "expected_latency_ms", "latency_ms")),
    ("a whole number or null", (int, type(None)), ("seed", "relus", "comparisons")),
)


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
        images: the `ImageFormat` of what it learns from, as plain values.
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
    images: Mapping[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        document = {"schema": SCHEMA_VERSION, **asdict(self)}
        write_whole_json(path, document)

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
        if wrong := _wrong_kind(values):
            raise Refusal(f"{path}: {wrong}")
        return cls(**values)

    def space(self) -> SpaceOptions:
        """The options of its backbone.

        Raises:
            Refusal: they are none.
        """
        from rrnet_nni.search_spaces import SpaceOptions

        known = [item.name for item in fields(SpaceOptions)]
        if unknown := sorted(set(self.options) - set(known)):
            raise Refusal(f"options: unknown key {unknown[0]!r}; known keys: {', '.join(known)}")
        try:
            # Files that do not name the form of X2act were written when there was the plain one alone.
            return SpaceOptions(**{"x2act": "plain", **self.options})
        except Refusal as refusal:
            raise Refusal(f"options: {refusal}") from None


def read_architecture(path: Path) -> tuple[Architecture, SpaceOptions]:
    """An architecture.json and the options of its backbone, which `Architecture.load` alone does not look at.

    Raises:
        Refusal: naming the file.
    """
    architecture = Architecture.load(path)
    try:
        return architecture, architecture.space()
    except Refusal as refusal:
        raise Refusal(f"{path}: {refusal}") from None


def _wrong_kind(values: Mapping[str, Any]) -> str | None:
    """What is wrong with the first value that is not of its key's kind; None where all are."""
    for words, kinds, keys in _KINDS:
        for key in keys:
            if key in values and (not isinstance(values[key], kinds) or isinstance(values[key], bool)):
                return f"{key!r} must be {words}, not {values[key]!r}"
    if not all(isinstance(chosen, str) for chosen in values["choices"].values()):
        return "'choices' must map labels to the names of candidates"
    try:
        if values.get("images") is not None:
            format_of(values["images"])
    except ValueError as error:
        return f"'images': {error}"
    if not all(isinstance(probabilities, dict) for probabilities in values.get("theta", {}).values()):
        return "'theta' must map labels to the probabilities of candidates"
    return None


def installed_versions() -> dict[str, str]:
    """Versions of what decides a result: this package and the libraries under it."""
    found = {"rrnet-nni": __version__}
    for name in ("nni", "torch", "pytorch-lightning", "numpy", "onnx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
