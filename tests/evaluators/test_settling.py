"""In settling epochs statistics stand still: what learns is the network that is evaluated."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.networks.digit_networks import POLYNOMIAL, RELU, network
from torch import nn

from rrnet_nni.base.settings import WrongSetting
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.module import ClassificationModule
from rrnet_nni.evaluators.options import TeacherOptions
from rrnet_nni.evaluators.settling import SETTLING_RATE, settle, settling_factor
from rrnet_nni.evaluators.training import EpochProgress, TrainingOptions, _EpochReport, train_network
from rrnet_nni.search_spaces import x2act_modules
from rrnet_nni.search_spaces.x2act import NormalizedX2act

SETTLED = TrainingOptions(epochs=3, settling_epochs=1, precision="float32")


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    whole = load_dataset(DataOptions())
    return replace(whole, train_images=whole.train_images[:256], train_labels=whole.train_labels[:256])


def copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def after_every_epoch(
    kind: tuple[str, str], digits: ImageDataset, options: TrainingOptions, folder: Path | None = None
) -> tuple[nn.Module, list[dict[str, torch.Tensor]]]:
    trained, states = network(kind), []

    def keep(step: EpochProgress) -> None:
        states.append(copied(step.network.state_dict()))

    train_network(trained, digits, options, checkpoint_dir=folder, progress=keep)
    return trained, states


def statistics(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    named = {name: tensor for name, tensor in state.items() if "running" in name or "_mean" in name or "_var" in name}
    assert named
    return named


def test_statistics_stand_still_in_the_last_epochs_while_weights_move(digits: ImageDataset) -> None:
    trained, states = after_every_epoch(POLYNOMIAL, digits, SETTLED)
    first, second, third = map(statistics, states)
    assert all(not torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(second[name], third[name]) for name in second)
    kernels = [name for name, tensor in states[0].items() if tensor.ndim == 4]
    assert kernels
    assert all(not torch.equal(states[1][name], states[2][name]) for name in kernels)
    assert not any(square.settled for square in x2act_modules(trained))


def test_a_network_without_x2act_does_not_settle(digits: ImageDataset) -> None:
    _, states = after_every_epoch(RELU, digits, SETTLED)
    _, plain = after_every_epoch(RELU, digits, replace(SETTLED, settling_epochs=0))
    assert all(torch.equal(states[-1][name], plain[-1][name]) for name in plain[-1])


def test_what_settles_computes_what_is_evaluated_and_sees_what_leaves_the_range() -> None:
    settled = network(POLYNOMIAL)
    images = torch.randn(16, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for _ in range(3):  # statistics of these images
        settled(images)
    settle(settled, True)
    logits = settled(3 * images)
    excess = sum(float(square.range_excess) for square in x2act_modules(settled) if square.range_excess is not None)
    logits.sum().backward()
    assert all(square.a2.grad is not None for square in settled.modules() if isinstance(square, NormalizedX2act))
    before = copied(settled.state_dict())
    settle(settled, False)
    settled(images)
    assert any(not torch.equal(before[name], tensor) for name, tensor in settled.state_dict().items())
    settled.load_state_dict(before)
    settled.eval()
    torch.testing.assert_close(logits, settled(3 * images))
    assert excess > 0


def test_squares_are_penalized_by_the_statistics_of_inference() -> None:
    square = NormalizedX2act("gate", 2)
    square.input_mean.copy_(torch.tensor([1.0, -2.0]))
    square.input_variance.copy_(torch.tensor([4.0, 0.25]))
    square.settled, square.range_bound = True, 3.0
    x = torch.tensor([[[[1.0, 9.0]], [[-2.0, -4.0]]]])  # 0 and 4 deviations; 0 and -4
    square(x)
    assert square.range_excess is not None
    torch.testing.assert_close(float(square.range_excess), 2.0, rtol=1e-3, atol=1e-3)


def test_the_learning_rate_starts_anew_at_a_fiftieth() -> None:
    module = ClassificationModule(replace(SETTLED, warmup_epochs=0.5), 10)
    module.set_model(network(POLYNOMIAL))
    factors = [module.learning_rate_factor(step) for step in range(31)]
    assert max(factors) == pytest.approx(1.0, abs=0.1)
    assert factors[19] < 0.02
    assert factors[20] == factors[30] == 0
    assert max(factors[20:]) == pytest.approx(SETTLING_RATE, rel=0.1)
    assert settling_factor(0.05) == pytest.approx(SETTLING_RATE / 2, rel=0.05)


def test_images_are_spread_in_settling_epochs_alone(monkeypatch: pytest.MonkeyPatch, digits: ImageDataset) -> None:
    parts: list[float] = []

    def note(images: torch.Tensor, most: float, done: float, seed: int) -> torch.Tensor:
        parts.append(done)
        return images

    monkeypatch.setattr("rrnet_nni.evaluators.module.stretched", note)
    after_every_epoch(POLYNOMIAL, digits, replace(SETTLED, stretch=0.4))
    assert parts == [0.0] * 8 + [0.0, 0.25, 0.5, 0.75]


def test_the_range_loss_counts_ten_times_while_a_network_settles() -> None:
    module = ClassificationModule(SETTLED, 10)
    module.set_model(network(POLYNOMIAL))
    assert [module.range_strength_at(step) for step in (0, 19, 20, 29)] == [0.01, 1.0, 10.0, 10.0]
    module.set_model(network(RELU))
    assert module.range_strength_at(20) == pytest.approx(0.89, abs=0.01)


def test_a_run_that_goes_on_in_its_settling_ends_as_one_that_was_not_stopped(
    tmp_path: Path, digits: ImageDataset
) -> None:
    options = replace(SETTLED, epochs=4, settling_epochs=2, stretch=0.4)
    _, whole = after_every_epoch(POLYNOMIAL, digits, options)

    class Stopped(Exception):
        pass

    def stop(step: EpochProgress) -> None:
        if step.epoch == 3:
            raise Stopped

    with pytest.raises(Stopped):
        train_network(network(POLYNOMIAL), digits, options, checkpoint_dir=tmp_path, progress=stop)
    _, resumed = after_every_epoch(POLYNOMIAL, digits, options, tmp_path)
    assert all(torch.equal(whole[-1][name], resumed[-1][name]) for name in whole[-1])


def test_the_loss_of_an_epoch_is_that_of_the_steps_that_were_taken() -> None:
    told: list[EpochProgress] = []
    module, trainer = ClassificationModule(SETTLED, 3), SimpleNamespace(current_epoch=0)
    module.set_model(network(POLYNOMIAL))
    report = _EpochReport(3, told.append)
    for losses in ((2.0, float("nan"), 4.0), (float("inf"),) * 2):
        report.on_train_epoch_start(trainer, module)
        for loss in losses:
            report.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, 0)
        report.on_train_epoch_end(trainer, module)
    assert told[0].loss == 3.0
    assert math.isnan(told[1].loss)


@pytest.mark.parametrize("epochs", [3, 4])
def test_settling_leaves_an_epoch_before_it(epochs: int) -> None:
    with pytest.raises(WrongSetting, match=f"last of 3, and {epochs} leave none"):
        TrainingOptions(epochs=3, settling_epochs=epochs)


def test_a_teacher_of_fewer_epochs_than_its_task_settles_does_not_settle() -> None:
    taught = TeacherOptions(epochs=2).training(TrainingOptions(epochs=9, settling_epochs=3))
    assert (taught.epochs, taught.settling_epochs) == (2, 0)
