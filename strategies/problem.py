"""What is searched and what a search answers: the interface that all strategies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import ImageDataset
from rrnet_nni.evaluators.training import TrainingOptions
from rrnet_nni.search_spaces import SpaceOptions

from .record import EpochRecord

OnEpoch = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class SearchProblem:
    """A space, the images it must classify, and what its candidates cost.

    Attributes:
        backbone: name of the backbone.
        space: its options.
        dataset: training images are split in two halves for the search; test images are not touched.
        latency: Lat(α) of the space.
        training: how weights are trained; a strategy replaces epochs and seed by its own.
        initial_weights: of a trained network of the same backbone: what is trained in a search starts from them, but
            for a space whose candidates own their convolutions. None: everything starts anew.
    """

    backbone: str
    space: SpaceOptions
    dataset: ImageDataset
    latency: ExpectedLatency
    training: TrainingOptions = field(default_factory=TrainingOptions)
    initial_weights: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        strategy: the strategy's name.
        choices: label -> chosen candidate.
        theta: label -> candidate -> probability; one-hot for strategies that do not relax the choice.
        expected_latency_ms: Lat(α) of the mixture at the end.
        latency_ms, relus, comparisons: of the chosen network.
        validation_accuracy: what the strategy measured on the validation half: of the mixture for a relaxed search, of
            the chosen network otherwise. None where it was not measured.
        latency_weight: λ in 1/ms at the end.
        seconds: wall time of the search.
        seed: of the search.
        candidates: every architecture that was trained on the way, as (choices, accuracy, latency_ms).
    """

    strategy: str
    choices: Mapping[str, str]
    theta: Mapping[str, Mapping[str, float]]
    expected_latency_ms: float
    latency_ms: float
    relus: int
    comparisons: int
    validation_accuracy: float | None
    latency_weight: float
    seconds: float
    seed: int
    candidates: tuple[tuple[Mapping[str, str], float, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Strategy = Callable[[SearchProblem, Any, Path | None, OnEpoch | None], SearchResult]
