"""What a trial found, as a file (result.json), and the front of the best ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.base.settings import read_json

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class Result:
    """One searched, trained, exported and compiled network; the answer of `rrnet search`, `train` and `trial`.

    Attributes:
        accuracy: of the float model on the test set, in [0, 1].
        fixed_point_accuracy: of the 32-bit fixed-point model on the test set ("accuracy under 2PC").
        validation_accuracy: of the float model on images that took no part in training; what choices are made by.
        expected_latency_ms: Lat(α) at the end of the search; None where no search was made.
        latency_ms: modelled latency of one image, operator after operator (the table's sum).
        makespan_ms: latency of the compiled schedule, in which operators overlap.
        images: the `ImageFormat` of what the network takes, as plain values.
        machine, device: the host that made it, and what it trained on there.
        uncompiled: why there is no build, and so no `fixed_point_accuracy`, `makespan_ms` and `build`.
        exploded_images: test images whose logits are not finite or beyond 1e3.
    """

    backbone: str
    accuracy: float
    validation_accuracy: float
    fixed_point_accuracy: float | None
    expected_latency_ms: float | None
    latency_ms: float
    makespan_ms: float | None
    relus: int
    comparisons: int
    all_relu_comparisons: int
    latency_weight: float | None
    seed: int
    exploded_images: int
    strategy: str | None
    architecture: str
    checkpoint: str
    model: str
    build: str | None
    duration_s: float
    images: dict | None = None
    uncompiled: str | None = None
    machine: str | None = None
    device: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def save(self, directory: Path) -> Path:
        path = directory / RESULT_FILE
        write_whole_json(path, self.to_dict())
        return path

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read a result.json (or the directory that holds it), its paths leading to what lies beside it.

        They may have been written on another machine, or before the folder was moved.

        Raises:
            Refusal: there is none, or it is not one of this version.
        """
        file = path / RESULT_FILE if path.is_dir() else path
        result = read_json(file, cls, "a result of this version")
        paths = {name: getattr(result, name) for name in ("architecture", "checkpoint", "model", "build")}
        here: dict[str, Any] = {
            name: str(file.parent / Path(stored).name) for name, stored in paths.items() if stored is not None
        }
        return replace(result, **here)


def format_weight(weight: float | None) -> str:
    """λ as people write it: 0, 0.02, 1e-04; a dash where no search was made."""
    return "–" if weight is None else f"{weight:.3g}"


def results_on_front(results: Sequence[Result]) -> list[Result]:
    """The results that no other one beats in both test accuracy and latency, by rising latency."""
    front: list[Result] = []
    for result in sorted(results, key=lambda one: (one.latency_ms, -one.accuracy)):
        if not front or result.accuracy > front[-1].accuracy:
            front.append(result)
    return front


def choose(results: Sequence[Result], tolerance: float = 0.02) -> Result:
    """The fastest network whose validation accuracy is within `tolerance` of the best one's.

    The test set takes no part in the choice; a network without a build is chosen where none has one.
    """
    results = [result for result in results if result.build is not None] or results
    best = max(result.validation_accuracy for result in results)
    good_enough = [result for result in results if result.validation_accuracy >= best - tolerance]
    return min(good_enough, key=lambda result: (result.latency_ms, -result.validation_accuracy))
