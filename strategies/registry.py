"""Strategies by name, as `rrnet search --strategy NAME` knows them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from torch import Tensor

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import ImageDataset
from rrnet_nni.evaluators.training import TrainingOptions
from rrnet_nni.search_spaces import SpaceOptions

from .budgets import budget_of
from .evolution_search import search_by_evolution
from .gradient_search import search_by_first_order, search_by_gradient
from .greedy_search import search_greedily
from .knapsack_search import search_by_knapsack
from .options import SearchOptions, StrategyName
from .problem import OnEpoch, SearchProblem, SearchResult, Strategy
from .random_search import search_at_random
from .run_settings import keep_settings
from .sparsity_search import search_by_sparsity

STRATEGIES: dict[StrategyName, Strategy] = {
    "rrnet": search_by_gradient,
    "rrnet-first-order": search_by_first_order,
    "random": search_at_random,
    "greedy": search_greedily,
    "sparsity": search_by_sparsity,
    "evolution": search_by_evolution,
    "knapsack": search_by_knapsack,
}

#: Strategies that meet a `target_latency_ms` or `target_comparisons`; the others search at the λ that they are given.
MEETING_A_TARGET = ("rrnet", "rrnet-first-order", "sparsity", "knapsack")


def strategy_names() -> list[str]:
    return list(STRATEGIES)


def search(
    backbone: str,
    space: SpaceOptions,
    dataset: ImageDataset,
    latency: ExpectedLatency,
    options: SearchOptions,
    training: TrainingOptions | None = None,
    run_dir: str | PathLike[str] | None = None,
    on_epoch: OnEpoch | None = None,
    initial_weights: Mapping[str, Tensor] | None = None,
) -> SearchResult:
    """Search a space with the strategy that `options` names.

    Args:
        backbone, space: what may be chosen.
        dataset: its training images are split in two halves; its test images are not touched.
        latency: Lat(α) of the space.
        training: how weights are trained; epochs and seed are those of `options`.
        run_dir: where the record of the epochs and the checkpoint go; a killed search goes on from there.
        on_epoch: called with the record of each epoch, or of each trained candidate.
        initial_weights: see `SearchProblem`.

    Raises:
        Refusal: the strategy cannot do what is asked, or `run_dir` holds a search with other settings.
    """
    target = budget_of(latency, options)
    if target is not None and options.strategy_name not in MEETING_A_TARGET:
        raise Refusal(
            f"{target.option}: {options.strategy_name} searches at a given latency_weight; a target is met by "
            f"{', '.join(MEETING_A_TARGET)}"
        )
    directory = Path(run_dir) if run_dir is not None else None
    problem = SearchProblem(backbone, space, dataset, latency, training or TrainingOptions(), initial_weights)
    if directory is not None:
        keep_settings(problem, options, directory)
    return STRATEGIES[options.strategy_name](problem, options, directory, on_epoch)
