"""A task's teacher is trained once, whoever asks first, and given back as it was trained."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.options import TeacherOptions
from rrnet_nni.evaluators.teaching.shared_teacher import shared_teacher
from rrnet_nni.evaluators.training import EpochProgress, TrainingOptions, train_network
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices

SPACE = SpaceOptions(image_size=16, channels=1, width=0.125)
OPTIONS = TrainingOptions(epochs=2, batch_size=32, precision="float32")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    cache = tmp_path_factory.mktemp("images")
    return load_dataset(DataOptions(train_images=96, test_images=20, cache_dir=str(cache)))


class Asked:
    """Asks for the teacher and counts the epochs that it cost."""

    def __init__(self, digits: ImageDataset, cache: Path) -> None:
        self.digits, self.cache, self.epochs = digits, cache, 0

    def __call__(self, options: TrainingOptions = OPTIONS) -> nn.Module:
        return shared_teacher("resnet8", SPACE, self.digits, options, self.count, self.cache)

    def count(self, step: EpochProgress) -> None:
        self.epochs += 1


def same(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def test_teacher_is_trained_once_and_is_the_network_that_was_trained(digits: ImageDataset, tmp_path: Path) -> None:
    asked = Asked(digits, tmp_path)
    first, second = asked(), asked()
    assert asked.epochs == 2
    torch.manual_seed(OPTIONS.seed)
    own = build_network("resnet8", SPACE, fixed_choices("resnet8", SPACE))
    train_network(own, digits, OPTIONS)
    assert same(first, own)
    assert same(second, own)
    assert not second.training


@pytest.mark.parametrize(
    ("changed", "epochs"),
    [
        ({"seed": 1}, 2),
        ({"learning_rate": 0.05}, 2),
        ({"range_bound": 3.0, "distillation_weight": 0.9, "feature_weight": 1.0}, 0),
        ({"settling_epochs": 1, "stretch": 0.4}, 0),
    ],
)
def test_what_decides_its_weights_makes_another_teacher_and_nothing_else_does(
    digits: ImageDataset, tmp_path: Path, changed: dict[str, Any], epochs: int
) -> None:
    asked = Asked(digits, tmp_path)
    first = asked()
    asked.epochs = 0
    assert same(asked(replace(OPTIONS, **changed)), first) == (epochs == 0)
    assert asked.epochs == epochs


def test_a_killed_training_goes_on_after_its_last_epoch(digits: ImageDataset, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def die(step: EpochProgress) -> None:
        if step.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        shared_teacher("resnet8", SPACE, digits, OPTIONS, die, tmp_path / "killed")
    resumed, straight = Asked(digits, tmp_path / "killed"), Asked(digits, tmp_path / "straight")
    assert same(resumed(), straight())
    assert (resumed.epochs, straight.epochs) == (1, 2)


def test_those_who_ask_at_the_same_time_wait_for_one_training(digits: ImageDataset, tmp_path: Path) -> None:
    asked = Asked(digits, tmp_path)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: asked(), range(2))
    assert asked.epochs == 2
    assert same(first, second)


def test_damaged_weights_are_trained_anew(digits: ImageDataset, tmp_path: Path) -> None:
    asked = Asked(digits, tmp_path)
    first = asked()
    (kept,) = tmp_path.glob("teachers/*.npz")
    kept.write_bytes(kept.read_bytes()[:2000])
    assert same(asked(), first)
    assert asked.epochs == 4


def test_impossible_epochs_are_refused() -> None:
    with pytest.raises(Refusal, match="epochs must be at least 0, not -1"):
        TeacherOptions(epochs=-1)
