import functools
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.networks.digit_networks import POLYNOMIAL, RELU, network
from helpers.processes import environment_of
from torch import nn

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.evaluators.accuracy import evaluate
from rrnet_nni.evaluators.distillation import distillation
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.teaching.initial_weights import load_initial_weights
from rrnet_nni.evaluators.training import EpochProgress, TrainingOptions, TrainingResult, train_network
from rrnet_nni.search_spaces import SpaceOptions, x2act_modules


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset(DataOptions())


@pytest.fixture(scope="module")
def trained(digits: ImageDataset) -> dict[tuple[str, str], TrainingResult]:
    options = TrainingOptions(epochs=6)
    return {kind: train_network(network(kind), digits, options) for kind in (RELU, POLYNOMIAL)}


def test_few_epochs_teach_both_kinds_of_network(trained: dict[tuple[str, str], TrainingResult]) -> None:
    for result in trained.values():
        assert result.accuracy > 0.93
        assert result.test.exploded == 0
        assert result.skipped_steps == 0


@pytest.mark.slow
def test_all_polynomial_is_within_0_4_points_of_all_relu_on_digits(digits: ImageDataset) -> None:
    space = SpaceOptions(image_size=16, channels=1)
    accuracies: dict[tuple[str, str], list[float]] = {RELU: [], POLYNOMIAL: []}
    for seed in range(3):
        for kind, found in accuracies.items():
            result = train_network(network(kind, seed, space), digits, TrainingOptions(seed=seed))
            assert result.test.exploded == 0
            found.append(result.accuracy)
    relu, polynomial = (sum(found) / len(found) for found in accuracies.values())
    assert relu > 0.98
    assert relu - polynomial <= 0.004 + 1e-9


def test_progress_is_told_after_every_epoch(digits: ImageDataset) -> None:
    seen: list[EpochProgress] = []
    train_network(network(RELU), digits, TrainingOptions(epochs=2), progress=seen.append)
    assert [(step.epoch, step.epochs) for step in seen] == [(1, 2), (2, 2)]
    assert seen[0].remaining_s > 0 == seen[1].remaining_s
    assert seen[1].loss < seen[0].loss


def test_test_images_do_not_touch_training(digits: ImageDataset) -> None:
    blank = replace(digits, test_images=torch.zeros_like(digits.test_images))
    states = []
    for dataset in (digits, blank):
        trained = network(POLYNOMIAL)
        train_network(trained, dataset, TrainingOptions(epochs=1))
        states.append(trained.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


RUN = """
import sys
from pathlib import Path
from test_training import five_epochs
five_epochs(Path(sys.argv[1]))
"""


def five_epochs(directory: Path) -> dict[str, torch.Tensor]:
    """Train a polynomial network with checkpoints in `directory`, on one thread so that every sum has one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trained = network(POLYNOMIAL)
    train_network(trained, load_dataset(DataOptions()), TrainingOptions(epochs=5), checkpoint_dir=directory)
    torch.set_num_threads(threads)
    return trained.state_dict()


def test_killed_run_resumes_to_the_weights_of_the_uninterrupted_one(tmp_path: Path) -> None:
    environment = environment_of(__file__)
    killed = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path / "killed")], env=environment)
    checkpoint = tmp_path / "killed" / "training.ckpt"
    deadline = time.monotonic() + 200
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    resumed, whole = five_epochs(tmp_path / "killed"), five_epochs(tmp_path / "whole")
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def test_training_lets_the_range_loss_grow(few_digits: ImageDataset) -> None:
    losses = []
    for onset in (0.0, 0.9):
        options = TrainingOptions(epochs=2, batch_size=32, range_bound=0.5, range_onset=onset)
        losses.append(train_network(network(POLYNOMIAL), few_digits, options).loss)
    assert losses[0] > 2 * losses[1]


def test_exploded_images_are_counted(digits: ImageDataset) -> None:
    class Explosive(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(len(x), 10)
            logits[0, 0], logits[1, 0], logits[2, 0] = float("nan"), 2000.0, float("inf")
            return logits

    assert evaluate(Explosive(), digits, digits.test_images[:400], digits.test_labels[:400]).exploded == 3


def test_finished_run_is_not_repeated(digits: ImageDataset, tmp_path: Path) -> None:
    options = TrainingOptions(epochs=1)
    first = train_network(network(RELU), digits, options, checkpoint_dir=tmp_path)
    again = train_network(network(RELU, seed=9), digits, options, checkpoint_dir=tmp_path)
    assert (again.accuracy, again.loss) == (first.accuracy, first.loss)


def test_checkpoint_of_other_options_or_damaged_is_refused(digits: ImageDataset, tmp_path: Path) -> None:
    train_network(network(RELU), digits, TrainingOptions(epochs=1), checkpoint_dir=tmp_path)
    with pytest.raises(Refusal, match="written with epochs 1, not 2"):
        train_network(network(RELU), digits, TrainingOptions(epochs=2), checkpoint_dir=tmp_path)
    checkpoint = tmp_path / "training.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(Refusal, match=str(checkpoint)):
        train_network(network(RELU), digits, TrainingOptions(epochs=1), checkpoint_dir=tmp_path)
    torch.save(torch.zeros(3), checkpoint)
    with pytest.raises(Refusal, match="not a readable checkpoint"):
        train_network(network(RELU), digits, TrainingOptions(epochs=1), checkpoint_dir=tmp_path)


class Poisoned(nn.Module):
    """A network whose `layer2.0.act1` multiplies by infinity in the forward passes of its `bad` range."""

    def __init__(self, bad: range) -> None:
        super().__init__()
        self.inner = network(POLYNOMIAL)
        self.passes = 0
        self.bad = bad
        target = next(module for module in x2act_modules(self.inner) if module.label == "layer2.0.act1")
        target.register_forward_hook(lambda module, inputs, output: output * self.factor())

    def factor(self) -> float:
        return float("inf") if self.training and self.passes in self.bad else 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.inner(x)
        self.passes += self.training
        return logits


def test_diverging_run_names_the_layer_and_goes_back_to_its_last_good_epoch(
    digits: ImageDataset, caplog: pytest.LogCaptureFixture
) -> None:
    # 20 steps an epoch: one bad step in the second, and the pass that looks for the layer sees it as well.
    poisoned = Poisoned(range(30, 32))
    result = train_network(poisoned, digits, TrainingOptions(epochs=3))
    (fallback,) = result.fallbacks
    assert (fallback.epoch, fallback.layer) == (2, "layer2.0.act1")
    assert "layer2.0.act1" in caplog.text
    assert result.skipped_steps == 1
    assert result.accuracy > 0.5
    assert all(torch.isfinite(value).all() for value in poisoned.state_dict().values())


def test_run_that_keeps_diverging_fails_with_the_layer(digits: ImageDataset) -> None:
    with pytest.raises(ExecutionFault, match=r"diverged 6 times, last in layer layer2\.0\.act1"):
        train_network(Poisoned(range(1000)), digits, TrainingOptions(epochs=3))


@pytest.fixture(scope="module")
def few_digits(digits: ImageDataset) -> ImageDataset:
    few = {name: getattr(digits, name)[:64] for name in ("train_images", "train_labels", "test_images", "test_labels")}
    return replace(digits, **few)


@pytest.mark.parametrize(
    ("change", "tolerance"),
    [
        ({"channels_last": True}, 1e-3),
        ({"precision": "bfloat16"}, 0.05),
    ],
)
def test_ways_of_computing_agree_on_the_first_steps(
    few_digits: ImageDataset, change: dict[str, object], tolerance: float
) -> None:
    plain, other = (
        train_network(network(POLYNOMIAL), few_digits, TrainingOptions(epochs=1, batch_size=32, **more)).loss  # type: ignore
        for more in ({}, change)
    )
    assert other == pytest.approx(plain, rel=tolerance)


@pytest.mark.slow
def test_compiled_network_takes_the_same_steps(few_digits: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced and differentiated by the compiler, without the generation of code that needs a matching C++ compiler.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    trained = [network(POLYNOMIAL) for _ in range(2)]
    losses = [
        train_network(model, few_digits, TrainingOptions(epochs=1, batch_size=32, compile=compiled)).loss
        for model, compiled in zip(trained, (False, True))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert trained[0].state_dict().keys() == trained[1].state_dict().keys()


def test_without_a_compiler_the_option_compile_is_refused_by_what_is_missing(
    few_digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler++")
    with pytest.raises(Refusal, match=r"no-such-compiler\+\+ is not there"):
        train_network(network(POLYNOMIAL), few_digits, TrainingOptions(epochs=1, compile=True))


def test_a_compilation_that_fails_is_a_fault_in_one_sentence(
    few_digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(graph: object, inputs: object) -> object:
        raise ValueError("the compiler gave up\nand said why")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fails))
    with pytest.raises(ExecutionFault, match="the compiler gave up") as caught:
        train_network(network(POLYNOMIAL), few_digits, TrainingOptions(epochs=1, compile=True))
    assert "\n" not in str(caught.value)


def test_distillation_pulls_towards_the_teacher() -> None:
    logits, teacher = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    loss = distillation(logits, teacher, temperature=3.0)
    expected = torch.softmax(teacher / 3, 1) * (torch.log_softmax(teacher / 3, 1) - torch.log_softmax(logits / 3, 1))
    torch.testing.assert_close(loss, 9 * expected.sum(1).mean())
    assert float(distillation(teacher, teacher, 3.0)) == pytest.approx(0, abs=1e-6)


def test_student_learns_from_its_teacher_alone(digits: ImageDataset) -> None:
    teacher = network(RELU)
    train_network(teacher, digits, TrainingOptions(epochs=4))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    scrambled = replace(digits, train_labels=digits.train_labels.roll(1))
    options = TrainingOptions(epochs=4, distillation_weight=1.0)
    result = train_network(network(POLYNOMIAL, seed=1), scrambled, options, teacher=teacher)
    assert result.accuracy > 0.8
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_polynomial_network_starts_from_relu_weights() -> None:
    relu, polynomial = network(RELU), network(POLYNOMIAL, seed=1)
    load_initial_weights(polynomial, relu.state_dict())
    assert all(torch.equal(polynomial.state_dict()[name], value) for name, value in relu.state_dict().items())
    back = network(RELU, seed=2)
    load_initial_weights(back, polynomial.state_dict())
    assert all(torch.equal(back.state_dict()[name], value) for name, value in relu.state_dict().items())
    with pytest.raises(Refusal, match="other options"):
        load_initial_weights(network(RELU, space=SpaceOptions(image_size=16, channels=1)), relu.state_dict())


@pytest.mark.parametrize(
    ("change", "words"),
    [({"epochs": 0}, "epochs"), ({"learning_rate": 0}, "learning_rate"), ({"momentum": 1.0}, "momentum"),
     ({"weight_decay": -1}, "weight_decay"), ({"clip_norm": float("nan")}, "clip_norm"), ({"seed": -1}, "seed")],
)  # fmt: skip
def test_impossible_training_options_are_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        TrainingOptions(**change)  # type: ignore[arg-type]
