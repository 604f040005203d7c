"""architecture.json: what a search found, enough to rebuild the network without NNI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.base.image_format import ImageFormat
from rrnet_nni.base.settings import Mistake, WrongSetting, checked, read_json

from . import __version__

if TYPE_CHECKING:
    from rrnet_nni.search_spaces import SpaceOptions

ARCHITECTURE = "architecture.json"
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

    def __post_init__(self) -> None:
        try:
            if self.images is not None:
                checked(self.images, ImageFormat)
        except Mistake as mistake:
            raise WrongSetting(f"images {mistake}") from None

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
        return read_json(path, cls, "an architecture", SCHEMA_VERSION)

    def space(self) -> SpaceOptions:
        """The options of its backbone.

        Raises:
            Refusal: they are none.
        """
        from rrnet_nni.search_spaces import SpaceOptions

        try:
            # Files that do not name the form of X2act were written when there was the plain one alone.
            return checked({"x2act": "plain", **self.options}, SpaceOptions)
        except Mistake as mistake:
            raise Refusal(f"options: {mistake}") from None


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


def installed_versions() -> dict[str, str]:
    """Versions of what decides a result: this package and the libraries under it."""
    found = {"rrnet-nni": __version__}
    for name in ("nni", "torch", "pytorch-lightning", "numpy", "onnx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
