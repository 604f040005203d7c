"""`precision: auto` on a processor: a self-test decides once, and a resumed run keeps what was decided."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from rrnet_nni.evaluators import arithmetic
from rrnet_nni.evaluators.arithmetic import Arithmetic, choose_arithmetic, measured_gains
from rrnet_nni.evaluators.fused_squares import square_kernels
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices, x2act_modules

#: Kernels for X2act take part where they can be built.
FUSED = square_kernels() is not None
FLOAT32, LAID_OUT, BFLOAT16 = (
    Arithmetic("float32", False),
    Arithmetic("float32", True, FUSED),
    Arithmetic("bfloat16", True, FUSED),
)
SPACE = SpaceOptions(image_size=16, channels=1, width=0.5)


def network(activation: str = "x2act") -> nn.Module:
    torch.manual_seed(0)
    return build_network("resnet8", SPACE, fixed_choices("resnet8", SPACE, activation, "avgpool"))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(16, 1, 16, 16)


def choose(images: torch.Tensor, cache: Path, precision: str = "auto", model: nn.Module | None = None) -> Arithmetic:
    return choose_arithmetic(model or network(), images, precision, False, cache)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([1.0, 1.19], FLOAT32),
        ([1.0, 1.2], BFLOAT16),
        ([1.1, 1.3], LAID_OUT),
        ([1.1, 1.33], BFLOAT16),
        ([0.0, 0.0], FLOAT32),
    ],
)
def test_the_self_test_decides(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gains: list[float], expected: Arithmetic
) -> None:
    monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: True)
    monkeypatch.setattr(arithmetic, "measured_gains", lambda *_: gains)
    assert choose(images, tmp_path) == expected


def test_a_processor_without_bfloat16_still_tries_the_layout(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: False)
    monkeypatch.setattr(arithmetic, "measured_gains", lambda *_: [1.5])
    assert choose(images, tmp_path) == LAID_OUT


def test_what_was_found_is_kept_for_networks_of_the_same_kind(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[float] = []

    def measure(*_: object) -> list[float]:
        measured.append(2.0 if not measured else 1.0)
        return [1.0, measured[-1]]

    monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: True)
    monkeypatch.setattr(arithmetic, "measured_gains", measure)
    assert choose(images, tmp_path) == choose(images, tmp_path) == BFLOAT16
    assert len(measured) == 1
    assert choose(images, tmp_path, model=network("relu")) == FLOAT32
    for kept in tmp_path.glob("*.npz"):
        kept.write_text("{")
    choose(images, tmp_path)
    choose(images, tmp_path)
    assert len(measured) == 3


def test_a_named_precision_needs_no_test(images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "measured_gains", lambda *_: pytest.fail("tested"))
    assert choose(images, tmp_path, "float32") == FLOAT32
    assert choose(images, tmp_path, "bfloat16") == BFLOAT16


def test_a_network_that_is_unsafe_in_channels_last_stays_in_float32(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: True)
    monkeypatch.setattr(arithmetic, "measured_gains", lambda *_: pytest.fail("tested"))
    foreign = nn.Sequential(nn.Conv2d(1, 8, 1, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert choose(images, tmp_path, model=foreign) == FLOAT32


def test_measuring_leaves_network_and_random_state_alone(images: torch.Tensor) -> None:
    model = network()
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    assert min(measured_gains(model, images, FLOAT32, [LAID_OUT, BFLOAT16])) > 0
    assert all(square.kernels is None for square in x2act_modules(model))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_an_arithmetic_with_another_loss_is_no_gain(images: torch.Tensor) -> None:
    class Coarse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(256, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.linear(x.flatten(1))
            return logits * (100.0 if logits.dtype == torch.bfloat16 else 1.0)

    assert measured_gains(Coarse(), images, FLOAT32, [BFLOAT16]) == [0.0]


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    whole = load_dataset(DataOptions())
    return replace(whole, train_images=whole.train_images[:256], train_labels=whole.train_labels[:256])


def test_a_resumed_run_in_bfloat16_ends_with_the_weights_of_the_uninterrupted_one(
    digits: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, threads = TrainingOptions(epochs=3), torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("rrnet_nni.evaluators.training.choose_arithmetic", lambda *_: BFLOAT16)

    class Stopped(Exception):
        pass

    def stop(step: object) -> None:
        if step.epoch == 2:  # type: ignore[attr-defined]
            raise Stopped

    whole, stopped, resumed = network(), network(), network()
    train_network(whole, digits, options)
    with pytest.raises(Stopped):
        train_network(stopped, digits, options, checkpoint_dir=tmp_path, progress=stop)
    # What a self-test would find today does not matter any more.
    monkeypatch.setattr("rrnet_nni.evaluators.training.choose_arithmetic", lambda *_: pytest.fail("chosen anew"))
    train_network(resumed, digits, options, checkpoint_dir=tmp_path)
    torch.set_num_threads(threads)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


def test_a_network_trained_in_bfloat16_lies_as_usual_afterwards(digits: ImageDataset) -> None:
    model = network()
    train_network(model, digits, TrainingOptions(epochs=1, precision="bfloat16"))
    assert all(parameter.is_contiguous() and parameter.dtype == torch.float32 for parameter in model.parameters())
    assert all(square.kernels is None for square in x2act_modules(model))
