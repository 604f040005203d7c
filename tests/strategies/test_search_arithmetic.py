"""A search in bfloat16 and channels_last: what it takes, that it trains, and that it goes on with the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rrnet_nni.evaluators.arithmetic import Arithmetic
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.fused_squares import square_kernels
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.evaluators.module import ClassificationModule
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.training import TrainingOptions
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.devices.load import load_device
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions, build_space, x2act_modules
from rrnet_nni.strategies import RRNetDARTS, SearchOptions, SearchProblem, search
from rrnet_nni.strategies.checkpoint import CHECKPOINT_NAME
from rrnet_nni.strategies.darts.arithmetic import ARITHMETIC_NAME, search_arithmetic

FUSED = square_kernels() is not None
BFLOAT16 = Arithmetic("bfloat16", True, FUSED)
OPTIONS = SearchOptions(strategy="rrnet-first-order", order=1, epochs=3, warmup_epochs=1, latency_weight=0.01)
CHOOSE = "rrnet_nni.strategies.darts.arithmetic.choose_arithmetic"


@pytest.fixture(scope="module")
def problem() -> SearchProblem:
    dataset = load_dataset(DataOptions(image_size=8, train_images=256))
    space = SpaceOptions(classes=dataset.classes, image_size=8, channels=1, width=0.5)
    operators = describe_space("resnet8", space)
    table = build_lut(operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"))
    training = TrainingOptions(batch_size=32)
    return SearchProblem("resnet8", space, dataset, ExpectedLatency.of_space(operators, table), training)


def supernet_of(problem: SearchProblem) -> Any:
    strategy = RRNetDARTS(latency=problem.latency, options=OPTIONS)
    return lambda: strategy.mutate_model(build_space(problem.backbone, problem.space))


def run(problem: SearchProblem, run_dir: Path, on_epoch: Any = None) -> Any:
    run_dir.mkdir(exist_ok=True)
    return search(
        problem.backbone,
        problem.space,
        problem.dataset,
        problem.latency,
        OPTIONS,
        problem.training,
        run_dir,
        on_epoch,
    )


def end_of(run_dir: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run_dir / CHECKPOINT_NAME, weights_only=True)["state_dict"]
    return state


class Stopped(Exception):
    """The search was stopped on purpose."""


def stopped_after(epoch: int) -> Any:
    def stop(record: Any) -> None:
        if record.epoch == epoch:
            raise Stopped

    return stop


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_the_second_order_stays_in_float32(
    problem: SearchProblem, monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    monkeypatch.setattr("rrnet_nni.evaluators.arithmetic.processor_has_bfloat16", lambda: True)
    monkeypatch.setattr("rrnet_nni.evaluators.arithmetic._kept_gains", lambda *given: [1.0, 9.0][: len(given[3])])
    asked = replace(problem, training=replace(problem.training, precision=precision))
    second = replace(OPTIONS, order=2)
    assert search_arithmetic(asked, second, supernet_of(problem)).precision == "float32"
    assert search_arithmetic(asked, replace(second, hvp="exact"), supernet_of(problem)) == Arithmetic("float32", False)
    assert search_arithmetic(asked, OPTIONS, supernet_of(problem)) == BFLOAT16


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([1.25, 1.5], Arithmetic("float32", False)),
        ([1.25, 1.6], BFLOAT16),
        ([1.35, 1.6], Arithmetic("float32", True, FUSED)),
        ([1.35, 1.65], BFLOAT16),
    ],
)
def test_a_small_gain_leaves_a_search_as_it_is(
    problem: SearchProblem, monkeypatch: pytest.MonkeyPatch, gains: list[float], expected: Arithmetic
) -> None:
    monkeypatch.setattr("rrnet_nni.evaluators.arithmetic.processor_has_bfloat16", lambda: True)
    monkeypatch.setattr("rrnet_nni.evaluators.arithmetic._kept_gains", lambda *_: gains)
    assert search_arithmetic(problem, OPTIONS, supernet_of(problem)) == expected


def test_the_self_test_takes_the_whole_mixture(problem: SearchProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def choose(network: torch.nn.Module, images: torch.Tensor, *_: Any, **__: Any) -> Arithmetic:
        seen.append((network, images))
        return BFLOAT16

    monkeypatch.setattr(CHOOSE, choose)
    search_arithmetic(problem, OPTIONS, supernet_of(problem))
    ((network, images),) = seen
    assert images.shape == (32, 1, 8, 8)
    kinds = {type(module).__name__ for module in network.modules()}
    assert {"GatedLayer", "Relu", "NormalizedX2act"} <= kinds


def test_every_weight_trains_in_bfloat16_from_the_first_epoch_on(
    problem: SearchProblem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the warm-up a pass without gradients comes before every training pass, in the same autocast."""
    ends: dict[str, dict[str, torch.Tensor]] = {}
    for name, arithmetic in (("float32", Arithmetic("float32", False)), ("bfloat16", BFLOAT16)):
        monkeypatch.setattr(CHOOSE, lambda *_, chosen=arithmetic, **__: chosen)
        with pytest.raises(Stopped):
            run(problem, tmp_path / name, stopped_after(0))
        ends[name] = end_of(tmp_path / name)
    torch.manual_seed(OPTIONS.seed)
    start = supernet_of(problem)().state_dict()
    weights = [name for name in start if name.endswith(("conv.weight", "norm.weight", "classifier.weight"))]
    assert len(weights) > 8
    for name in weights:
        before = start[name]
        usual, found = (ends[kind][f"training_module._model.{name}"] - before for kind in ("float32", "bfloat16"))
        assert torch.linalg.vector_norm(found - usual) < 0.3 * torch.linalg.vector_norm(usual), name
        # As far apart as bfloat16's rounding brings them, which a float32 of another layout stays below.
        if name.endswith("conv.weight"):
            assert torch.linalg.vector_norm(found - usual) > 1e-3 * torch.linalg.vector_norm(usual), name


def test_the_supernet_lies_and_computes_as_was_chosen(
    problem: SearchProblem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.nn.Module] = []
    take = ClassificationModule.set_model

    def set_model(module: ClassificationModule, model: torch.nn.Module) -> None:
        take(module, model)
        seen.append(model)

    monkeypatch.setattr(ClassificationModule, "set_model", set_model)
    monkeypatch.setattr(CHOOSE, lambda *_, **__: BFLOAT16)
    with pytest.raises(Stopped):
        run(problem, tmp_path / "run", stopped_after(0))
    kernels = [module.weight for module in seen[-1].modules() if isinstance(module, torch.nn.Conv2d)]
    assert kernels
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    assert any(not weight.is_contiguous() for weight in kernels)
    assert {square.kernels is not None for square in x2act_modules(seen[-1])} == {FUSED}


def test_a_search_in_bfloat16_goes_on_with_the_same_bits_whatever_is_fastest_today(
    problem: SearchProblem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CHOOSE, lambda *_, **__: BFLOAT16)
    whole = run(problem, tmp_path / "whole")
    with pytest.raises(Stopped):
        run(problem, tmp_path / "stopped", stopped_after(1))
    assert (tmp_path / "stopped" / ARITHMETIC_NAME).exists()
    monkeypatch.setattr(CHOOSE, lambda *_, **__: pytest.fail("chosen anew"))
    resumed = run(problem, tmp_path / "stopped")
    assert resumed.theta == whole.theta
    expected, found = end_of(tmp_path / "whole"), end_of(tmp_path / "stopped")
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_a_search_of_fewer_epochs_than_its_task_settles_does_not_settle(problem: SearchProblem, tmp_path: Path) -> None:
    settling = replace(problem, training=replace(problem.training, epochs=9, settling_epochs=4))
    for name, each in (("plain", problem), ("settling", settling)):
        run(each, tmp_path / name)
    plain, other = end_of(tmp_path / "plain"), end_of(tmp_path / "settling")
    assert all(torch.equal(plain[name], other[name]) for name in plain)
