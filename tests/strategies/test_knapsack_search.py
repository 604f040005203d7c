"""Gates by what replacing them changes: measured in two passes, solved exactly, alone and as the start of a search."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.distortion import measured_distortions
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.training import TrainingOptions
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.devices.load import load_device
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions, build_network, candidates_of, fixed_choices
from rrnet_nni.strategies import SearchOptions, search
from rrnet_nni.strategies.knapsack_search import DISTORTIONS_NAME, least_distorted, read_distortions

torch.set_num_threads(1)
SPACE = SpaceOptions(
    image_size=8, channels=1, width=0.25, groups=2, extra_activations=("relu2x2", "identity"), stem="plain"
)
QUICK = {"epochs": 2, "warmup_epochs": 1, "candidate_epochs": 1}


@pytest.fixture(scope="module")
def problem() -> dict[str, Any]:
    operators = describe_space("resnet8", SPACE)
    device, protocol = load_device("zcu104"), get_costs("beaver-ot")
    table = build_lut(operators.choices, operators.fixed, device, protocol, slices=operators.slices)
    dataset = load_dataset(DataOptions(image_size=8, train_images=300, test_images=50))
    return {
        "backbone": "resnet8",
        "space": SPACE,
        "dataset": dataset,
        "latency": ExpectedLatency.of_space(operators, table),
        "training": TrainingOptions(batch_size=32),
    }


def divergence(network: torch.nn.Module, label: str, scale: float, images: Tensor) -> float:
    """KL of the network whose gate `label` gives `scale` times its output."""
    with torch.no_grad():
        before = network(images).log_softmax(1)
        site = next(module for module in network.modules() if getattr(module, "label", None) == label)
        handle = site.register_forward_hook(lambda module, inputs, output: scale * output)
        after = network(images).log_softmax(1)
        handle.remove()
    return float((before.exp() * (before - after)).sum(1).mean())


def test_a_distortion_is_the_divergence_of_the_changed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from rrnet_nni.evaluators import distortion

    torch.manual_seed(0)
    network = build_network("resnet8", SPACE, fixed_choices("resnet8", SPACE))
    images = torch.randn(256, 1, 8, 8)
    for _ in range(5):
        network(images)
    network.eval()
    monkeypatch.setattr(
        distortion, "_replaced", lambda module, name, *_: 0.9 * _[2].relu() if name == "x2act" else None
    )
    labels = [label for label in candidates_of("resnet8", SPACE) if label.startswith(("stem", "layer2"))]
    candidates = dict.fromkeys(labels, ("relu", "x2act"))
    draws = [measured_distortions(network, SPACE, candidates, [images], seed) for seed in range(8)]
    for label in labels:
        found = sum(draw[label]["x2act"] for draw in draws) / len(draws)
        assert found == pytest.approx(divergence(network, label, 0.9, images), rel=0.35)
        assert draws[0][label]["relu"] == 0.0


def test_fitted_polynomials_distort_less_than_nothing_at_all() -> None:
    torch.manual_seed(1)
    network = build_network("resnet8", SPACE, fixed_choices("resnet8", SPACE))
    images = torch.randn(128, 1, 8, 8)
    for _ in range(5):
        network(images)
    candidates = candidates_of("resnet8", SPACE)
    found = measured_distortions(network, SPACE, candidates, [images[:64], images[64:]])
    assert set(found) == set(candidates)
    total = {name: sum(found[label][name] for label in found) for name in ("relu", "x2act", "relu2x2", "identity")}
    assert total["relu"] == 0.0
    assert 0 < total["x2act"] < total["identity"]
    assert total["relu2x2"] > 0


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_knapsack_meets_its_comparisons_and_keeps_what_it_measured(
    problem: dict[str, Any], share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latency = problem["latency"]
    target = int(share * latency.comparison_bounds()[1])
    options = SearchOptions(strategy="knapsack", target_comparisons=target, **QUICK)
    found = search(**problem, options=options, run_dir=tmp_path)
    assert 0.95 * target <= found.comparisons <= target
    distortions = read_distortions(tmp_path / DISTORTIONS_NAME)
    assert found.choices == least_distorted(distortions, latency, options)
    monkeypatch.setattr("rrnet_nni.strategies.candidates.train_network", lambda *_: pytest.fail("trained again"))
    again = search(**problem, options=options, run_dir=tmp_path)
    assert (again.choices, again.validation_accuracy) == (found.choices, found.validation_accuracy)
    (tmp_path / DISTORTIONS_NAME).write_text(json.dumps([1]))
    with pytest.raises(Refusal, match=r"distortions\.json: not distortions of a search .*must be a mapping"):
        search(**problem, options=options, run_dir=tmp_path)


@pytest.mark.parametrize("changed", ["seed", "messages"])
def test_what_was_measured_with_other_settings_is_refused(
    problem: dict[str, Any], changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SearchOptions(strategy="knapsack", target_comparisons=200, **QUICK)
    weights = build_network("resnet8", SPACE, fixed_choices("resnet8", SPACE)).state_dict()

    def stop(*unused: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rrnet_nni.strategies.candidates.train_network", stop)
    with pytest.raises(KeyboardInterrupt):
        search(**problem, options=options, run_dir=tmp_path, initial_weights=weights)
    if changed == "seed":
        options = replace(options, seed=1)
    else:
        activation, shared = next(iter(problem["latency"].messages.items()))
        slower = replace(shared, milliseconds={name: 2 * ms for name, ms in shared.milliseconds.items()})
        monkeypatch.setitem(problem["latency"].messages, activation, slower)
    with pytest.raises(Refusal, match=rf"distortions\.json was written with .*{changed}.*: remove it to start anew"):
        search(**problem, options=options, run_dir=tmp_path, initial_weights=weights)


def test_candidates_of_fewer_epochs_than_their_task_settles_do_not_settle(problem: dict[str, Any]) -> None:
    options = SearchOptions(strategy="knapsack", target_comparisons=200, **QUICK)
    settling = replace(problem["training"], epochs=9, settling_epochs=4)
    plain, other = (
        search(**{**problem, "training": training}, options=options) for training in (problem["training"], settling)
    )
    assert other.candidates == plain.candidates


def test_without_a_budget_a_larger_weight_gives_a_faster_network(problem: dict[str, Any]) -> None:
    latency = problem["latency"]
    labels = latency.milliseconds
    distortions = {
        label: {name: 0.0 if name == "relu" else 1e-3 * (3 - place) for place, name in enumerate(names)}
        for label, names in labels.items()
    }
    weights = (0.0, 0.01, 0.05, 1.0, 1e6)
    found = [latency.profile(least_distorted(distortions, latency, SearchOptions(latency_weight=w))) for w in weights]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(latency.bounds_ms()[0])
    objective = [
        sum(distortions[label][name] for label, name in choices.items()) + 0.05 * latency.profile(choices)
        for choices in (
            least_distorted(distortions, latency, SearchOptions(latency_weight=0.05)),
            latency.fastest(),
            {label: next(iter(names)) for label, names in labels.items()},
        )
    ]
    assert objective[0] <= min(objective[1:]) + 1e-12


def test_a_search_starts_at_the_choice_of_the_knapsack(problem: dict[str, Any], tmp_path: Path) -> None:
    latency = problem["latency"]
    target = latency.comparison_bounds()[1] // 3
    still = {"alpha_learning_rate": 1e-9, "temperature_end": 1.0}
    options = SearchOptions(target_comparisons=target, alpha_start="knapsack", **QUICK, **still)
    found = search(**problem, options=options, run_dir=tmp_path)
    chosen = least_distorted(read_distortions(tmp_path / DISTORTIONS_NAME), latency, options)
    assert {label: max(theta, key=theta.__getitem__) for label, theta in found.theta.items()} == chosen
    assert found.choices == chosen
    assert found.comparisons <= target


def test_candidates_with_their_own_convolutions_are_refused(problem: dict[str, Any]) -> None:
    separate = SpaceOptions(image_size=8, channels=1, width=0.25, conv_weights="separate")
    operators = describe_space("resnet8", separate)
    table = build_lut(operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"))
    changed = problem | {"space": separate, "latency": ExpectedLatency.of_space(operators, table)}
    with pytest.raises(Refusal, match="set conv_weights: shared"):
        search(**changed, options=SearchOptions(strategy="knapsack", **QUICK))


def test_a_network_of_given_weights_is_not_trained_again(problem: dict[str, Any]) -> None:
    torch.manual_seed(3)
    weights = build_network("resnet8", SPACE, fixed_choices("resnet8", SPACE)).state_dict()
    options = SearchOptions(strategy="knapsack", target_comparisons=200, **QUICK)
    found = search(**problem, options=replace(options, candidates=1), initial_weights=weights)
    assert len(found.candidates) == 1
