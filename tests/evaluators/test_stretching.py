"""Images of more contrast in training: which, how much, and that they change what a polynomial network learns alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.networks.digit_networks import POLYNOMIAL, RELU, network

from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.stretching import stretched
from rrnet_nni.evaluators.training import TrainingOptions, train_network

IMAGES = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def spread(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1).std(1)


@pytest.mark.parametrize(("done", "largest"), [(0.2, 0.125), (0.4, 0.25), (0.8, 0.5), (1.0, 0.5)])
def test_an_eighth_of_a_batch_is_spread_by_up_to_what_the_training_has_come_to(done: float, largest: float) -> None:
    ratios = torch.stack([spread(stretched(IMAGES, 0.5, done, seed)) / spread(IMAGES) for seed in range(200)])
    torch.testing.assert_close(ratios[:, 2:], torch.ones(200, 14))
    assert 1 - 1e-5 <= ratios[:, :2].min() < 1 + 0.1 * largest
    assert 1 + 0.9 * largest < ratios[:, :2].max() <= 1 + largest + 1e-5


def test_a_spread_image_keeps_its_mean() -> None:
    found = stretched(IMAGES, 0.5, 1.0, 0)
    torch.testing.assert_close(found.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)))


@pytest.mark.parametrize(("most", "done"), [(0.0, 1.0), (0.5, 0.0)])
def test_nothing_is_spread_at_the_start_or_where_nobody_asks(most: float, done: float) -> None:
    assert stretched(IMAGES, most, done, 0) is IMAGES


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    whole = load_dataset(DataOptions())
    return replace(whole, train_images=whole.train_images[:256], train_labels=whole.train_labels[:256])


def weights_after_training(kind: tuple[str, str], digits: ImageDataset, stretch: float) -> list[torch.Tensor]:
    trained = network(kind)
    train_network(trained, digits, TrainingOptions(epochs=1, stretch=stretch))
    return [parameter.detach() for parameter in trained.parameters()]


@pytest.mark.parametrize(("kind", "heeded"), [(RELU, False), (POLYNOMIAL, True)])
def test_networks_with_x2act_alone_see_spread_images(kind: tuple[str, str], heeded: bool, digits: ImageDataset) -> None:
    pairs = zip(*(weights_after_training(kind, digits, stretch) for stretch in (0.0, 0.5)), strict=True)
    assert any(not torch.equal(plain, other) for plain, other in pairs) == heeded
