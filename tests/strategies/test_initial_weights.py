"""A search that is handed a trained network starts from it, whatever the strategy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices
from rrnet_nni.strategies import SearchOptions, SearchResult, search

BACKBONE, SPACE = "resnet8", SpaceOptions(image_size=8, channels=1, width=0.25)
#: So slow that what a search measures is what it began with.
STILL = TrainingOptions(batch_size=32, learning_rate=1e-6)


@pytest.fixture(scope="module")
def images() -> Any:
    return load_dataset(DataOptions(image_size=8, train_images=400))


@pytest.fixture(scope="module")
def trained(images: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = build_network(BACKBONE, SPACE, fixed_choices(BACKBONE, SPACE))
    assert train_network(network, images, TrainingOptions(epochs=8, batch_size=32)).accuracy > 0.75
    return network.state_dict()


def found(images: Any, latency: Any, weights: Any, folder: Path | None = None, **settings: Any) -> SearchResult:
    space = settings.pop("space", SPACE)
    options = SearchOptions(epochs=2, warmup_epochs=1, latency_weight=0.0, candidates=1, candidate_epochs=1, **settings)
    return search(BACKBONE, space, images, latency, options, STILL, folder, initial_weights=weights)


@pytest.fixture(scope="module")
def latency() -> Any:
    from rrnet_nni.evaluators.expected_latency import ExpectedLatency
    from rrnet_nni.evaluators.space_operators import describe_space
    from rrnet_nni.fpga.cost import build_lut
    from rrnet_nni.fpga.devices import load_device
    from rrnet_nni.fpga.protocols import get_costs

    operators = describe_space(BACKBONE, SPACE)
    table = build_lut(operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"))
    return ExpectedLatency.of_space(operators, table)


@pytest.mark.parametrize("strategy", ["rrnet", "rrnet-first-order", "sparsity", "random", "greedy"])
def test_what_a_search_trains_starts_from_the_trained_network(
    images: Any, latency: Any, trained: dict[str, torch.Tensor], strategy: str
) -> None:
    anew, begun = (found(images, latency, weights, strategy=strategy) for weights in (None, trained))
    # What replaces a ReLU begins as its approximation, with the statistics of a normal distribution.
    assert begun.validation_accuracy > anew.validation_accuracy + 0.2


def test_candidates_that_own_their_convolutions_start_anew(
    images: Any, latency: Any, trained: dict[str, torch.Tensor]
) -> None:
    separate = replace(SPACE, conv_weights="separate")
    accuracies = [
        found(images, latency, weights, space=separate, strategy="rrnet-first-order").validation_accuracy
        for weights in (None, trained)
    ]
    assert accuracies[0] == accuracies[1]


def test_a_search_goes_on_from_the_same_weights_alone(
    images: Any, latency: Any, trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    found(images, latency, trained, tmp_path, strategy="rrnet-first-order")
    with pytest.raises(Refusal, match="initial weights"):
        found(images, latency, None, tmp_path, strategy="rrnet-first-order")
