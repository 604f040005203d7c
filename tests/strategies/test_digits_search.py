"""What λ and a latency target do to a real search: handwritten digits, a small ResNet, a real latency table."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.training import TrainingOptions
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.devices.load import load_device
from rrnet_nni.fpga.program.operators import comparison_count
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions, fixed_choices
from rrnet_nni.strategies import SearchOptions, SearchResult, search, strategy_names
from rrnet_nni.strategies.record import RecordFile

torch.set_num_threads(1)

BACKBONE = "resnet8"
#: λ in 1/ms by half decades, on the space below (its gates can save 3.2 ms): less is lost in the noise of so short a
#: search, and more only decides every gate for its fastest candidate again.
WEIGHTS = (0.01, 0.03, 0.1, 0.3)
QUICK = {"epochs": 8, "warmup_epochs": 2, "alpha_learning_rate": 0.1}
TRAINING = TrainingOptions(batch_size=32)


@pytest.fixture(scope="module")
def digits() -> tuple[SpaceOptions, ImageDataset, ExpectedLatency]:
    dataset = load_dataset(DataOptions(image_size=8, train_images=400))
    space = SpaceOptions(classes=dataset.classes, image_size=dataset.image_size, channels=dataset.channels, width=0.5)
    operators = describe_space(BACKBONE, space)
    table = build_lut(operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"))
    return space, dataset, ExpectedLatency.of_space(operators, table)


def run(
    digits: Any, run_dir: Path | None = None, training: TrainingOptions = TRAINING, **settings: Any
) -> SearchResult:
    space, dataset, latency = digits
    return search(BACKBONE, space, dataset, latency, SearchOptions(**{**QUICK, **settings}), training, run_dir)


def test_a_larger_weight_gives_a_faster_network(digits: Any) -> None:
    latencies = [run(digits, latency_weight=weight).expected_latency_ms for weight in (WEIGHTS[0], WEIGHTS[3])]
    assert latencies[0] > latencies[1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_expected_latency_falls_strictly_with_the_weight(digits: Any, seed: int) -> None:
    latencies = [run(digits, latency_weight=weight, seed=seed).expected_latency_ms for weight in WEIGHTS]
    assert all(slower > faster for slower, faster in pairwise(latencies)), latencies


def test_without_a_weight_latency_is_ignored(digits: Any) -> None:
    """At λ = 0 the same search over a table a thousand times slower takes the same bits."""
    space, dataset, latency = digits

    slower = {
        label: {name: SimpleNamespace(latency_ms=1e3 * ms, comparisons=0) for name, ms in prices.items()}
        for label, prices in latency.milliseconds.items()
    }
    settings = SearchOptions(**{**QUICK, "epochs": 4, "latency_weight": 0.0})
    thetas = [
        search(BACKBONE, space, dataset, table, settings, TRAINING).theta
        for table in (latency, ExpectedLatency(SimpleNamespace(fixed_ms=0.0, entries=slower)))
    ]
    assert thetas[0] == thetas[1]


def test_a_very_large_weight_gives_all_polynomial_with_avgpool(digits: Any) -> None:
    found = run(digits, latency_weight=1e3, epochs=6)
    assert found.choices == fixed_choices(BACKBONE, digits[0], "x2act", "avgpool")
    assert found.relus == found.comparisons == 0
    assert found.latency_ms == pytest.approx(digits[2].bounds_ms()[0])


@pytest.mark.parametrize("strategy", ["rrnet", "knapsack"])
def test_a_target_latency_is_met_within_five_percent(digits: Any, strategy: str) -> None:
    found_ms, target_ms = searched_at_target(digits, relus=5, pooling="maxpool", strategy=strategy)
    assert 0.95 * target_ms <= found_ms <= target_ms


@pytest.mark.slow
@pytest.mark.parametrize(("relus", "pooling"), [(2, "avgpool"), (5, "avgpool")])
def test_other_target_latencies_are_met_within_five_percent(digits: Any, relus: int, pooling: str) -> None:
    found_ms, target_ms = searched_at_target(digits, relus, pooling, "rrnet")
    assert 0.95 * target_ms <= found_ms <= target_ms


def searched_at_target(digits: Any, relus: int, pooling: str, strategy: str) -> tuple[float, float]:
    """Latency of what was found, and the target: 2 % above a network with that many ReLU layers and this pooling."""
    space, _, latency = digits
    network = fixed_choices(BACKBONE, space, "x2act", pooling)
    for label in [label for label in network if "act" in label][:relus]:
        network[label] = "relu"
    target_ms = 1.02 * latency.profile(network)
    found = run(digits, target_latency_ms=target_ms, strategy=strategy)
    assert found.latency_ms == pytest.approx(latency.profile(found.choices))
    return found.latency_ms, target_ms


@pytest.mark.parametrize("strategy", ["rrnet", "knapsack"])
def test_a_search_over_slices_ends_within_its_comparisons_and_close_below(digits: Any, strategy: str) -> None:
    space, dataset, _ = digits
    cut = replace(space, groups=4, extra_activations=("identity",))
    operators = describe_space(BACKBONE, cut)
    table = build_lut(
        operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"), slices=operators.slices
    )
    latency = ExpectedLatency.of_space(operators, table)
    target = latency.comparison_bounds()[1] // 4
    found = run((cut, dataset, latency), target_comparisons=target, epochs=4, strategy=strategy)
    assert 0.95 * target <= found.comparisons <= target
    shapes = [operators.choices[label][name] for label, name in found.choices.items()]
    assert found.comparisons == sum(map(comparison_count, [*shapes, *(o.shape for o in operators.fixed)]))


def test_an_impossible_target_is_refused(digits: Any) -> None:
    with pytest.raises(Refusal, match="fastest network"):
        run(digits, target_latency_ms=0.5 * digits[2].bounds_ms()[0])
    with pytest.raises(Refusal, match="two budgets: give one"):
        SearchOptions(target_latency_ms=1.0, target_comparisons=5)


@pytest.mark.parametrize("strategy", ["random", "greedy", "sparsity", "evolution"])
def test_every_rival_answers_in_the_same_terms(digits: Any, strategy: str, tmp_path: Path) -> None:
    budget = {"candidates": 3, "candidate_epochs": 1, "epochs": 3}
    found = run(digits, tmp_path, strategy=strategy, latency_weight=0.1, **budget)
    assert found.strategy == strategy
    assert set(found.choices) == set(digits[2].milliseconds)
    assert found.latency_ms == pytest.approx(digits[2].profile(found.choices))
    assert found.validation_accuracy is not None
    if strategy != "sparsity":
        assert len(found.candidates) == 3
        again = run(digits, tmp_path, strategy=strategy, latency_weight=0.1, **budget)
        assert again.candidates == found.candidates, "a search started again finds its candidates on disk"
        assert len((tmp_path / "candidates.jsonl").read_text().splitlines()) == 3


def test_a_greedy_search_killed_in_its_second_round_ends_with_the_same_candidates(digits: Any, tmp_path: Path) -> None:
    """A replacement that was measured before the kill is trained again where the search goes on from it."""
    settings = {"strategy": "greedy", "latency_weight": 1.0, "candidates": 14, "candidate_epochs": 1}
    whole = run(digits, tmp_path / "whole", **settings)
    written = (tmp_path / "whole" / "candidates.jsonl").read_text().splitlines(keepends=True)
    first_round = 1 + len(digits[2].milliseconds)
    assert len(written) > first_round, "the first round found a replacement"
    run(digits, tmp_path / "killed", **{**settings, "candidates": 1})
    (tmp_path / "killed" / "candidates.jsonl").write_text("".join(written[: first_round + 2]))
    resumed = run(digits, tmp_path / "killed", **settings)
    assert resumed.candidates == whole.candidates
    assert resumed.choices == whole.choices


def test_candidates_of_other_settings_are_refused_by_name(digits: Any, tmp_path: Path) -> None:
    """Their losses and latencies would answer for settings that nobody trained them with."""
    settings = {"strategy": "random", "candidates": 1, "candidate_epochs": 1}
    found = run(digits, tmp_path, **settings)
    with pytest.raises(Refusal, match=r"candidates\.jsonl was written with search\.candidate_epochs 1, not 2"):
        run(digits, tmp_path, **{**settings, "candidate_epochs": 2})
    with pytest.raises(Refusal, match=r"written with search\.strategy 'random', not 'evolution'"):
        run(digits, tmp_path, **{**settings, "strategy": "evolution"})
    with pytest.raises(Refusal, match=r"written with training\.learning_rate 0\.1, not 0\.05"):
        run(digits, tmp_path, replace(TRAINING, learning_rate=0.05), **settings)
    space, dataset, _ = digits
    operators = describe_space(BACKBONE, space)
    table = build_lut(operators.choices, operators.fixed, load_device("zcu104"), get_costs("masked"))
    with pytest.raises(Refusal, match=r"written with milliseconds\.stem\.act\.relu"):
        run((space, dataset, ExpectedLatency(table)), tmp_path, **settings)
    more = run(digits, tmp_path, **{**settings, "candidates": 2})
    assert more.candidates[:1] == found.candidates, "a larger plan goes on with what there is"
    (tmp_path / "search_settings.json").write_text("[")
    with pytest.raises(Refusal, match=r"search_settings\.json is not readable"):
        run(digits, tmp_path, **settings)


@pytest.mark.parametrize("content", ["half a li", "[]", '{"choices": 3}', '{"choices": {}, "loss": null}'])
def test_damaged_candidates_are_refused_by_file(digits: Any, tmp_path: Path, content: str) -> None:
    (tmp_path / "candidates.jsonl").write_text(content + "\n")
    with pytest.raises(Refusal, match=r"candidates\.jsonl holds no candidates of a search"):
        run(digits, tmp_path, strategy="random")


def test_every_candidate_is_a_step_of_the_tensorboard_curves(digits: Any, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = {"strategy": "random", "candidate_epochs": 1, "tensorboard": True}
    run(digits, tmp_path, candidates=1, **settings)
    found = run(digits, tmp_path, candidates=2, **settings)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    latencies = [event.value for event in curves.Scalars("search/latency_ms")]
    assert latencies == pytest.approx([latency_ms for _, _, latency_ms in found.candidates])


@pytest.mark.parametrize("strategy", ["random", "greedy", "evolution"])
def test_a_target_is_refused_by_strategies_that_do_not_adapt_the_weight(digits: Any, strategy: str) -> None:
    with pytest.raises(Refusal, match=f"target_latency_ms: {strategy} searches at a given latency_weight"):
        run(digits, strategy=strategy, target_latency_ms=3.0)


def test_gates_may_be_decided_while_the_range_loss_is_at_work(digits: Any) -> None:
    """A polynomial that lost its gate leaves the loss, with the graph of its last pass."""
    settings = {"epochs": 3, "warmup_epochs": 0, "alpha_learning_rate": 0.3, "freeze_threshold": 0.51}
    found = run(digits, training=replace(TRAINING, range_bound=0.5), latency_weight=0.0, **settings)
    assert "relu" in found.choices.values()
    assert max(found.theta["stem.act"].values()) == 1.0


def test_first_order_is_a_strategy_of_its_own(digits: Any, tmp_path: Path) -> None:
    found = run(digits, tmp_path, strategy="rrnet-first-order", epochs=3)
    assert len(RecordFile(tmp_path / "search.jsonl").read()) == 3
    assert found.strategy == "rrnet-first-order"

    def again(**changes: Any) -> SearchResult:
        return run(digits, tmp_path, **{"strategy": "rrnet-first-order", "epochs": 3, **changes})

    assert again().theta == found.theta, "a finished search answers from its checkpoint"
    with pytest.raises(Refusal, match=r"search\.ckpt was written with search\.latency_weight 0\.1, not 0\.2"):
        again(latency_weight=0.2)
    (tmp_path / "search.ckpt").write_bytes(b"damaged")
    with pytest.raises(Refusal, match="not a readable checkpoint"):
        again()
    torch.save(torch.zeros(3), tmp_path / "search.ckpt")
    with pytest.raises(Refusal, match=r"not a readable checkpoint of a search \(a Tensor of something else\)"):
        again()


def test_an_unknown_strategy_is_refused_with_the_ones_that_exist(digits: Any) -> None:
    with pytest.raises(Refusal, match=", ".join(strategy_names())):
        run(digits, strategy="annealing")
