"""The gates whose replacement changes the trained network least, as a knapsack: `knapsack`, and a start for `rrnet`.

Distortions of gates are taken to add up. Within a budget of latency or comparisons the best choice is then a
multiple-choice knapsack, which is solved exactly; at a given λ it is the least Σ distortion + λ·latency.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from torch import nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.base.settings import read_json
from rrnet_nni.evaluators.distortion import measured_distortions
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.search_spaces import fixed_choices

from .budgets import Values, budget_of
from .candidates import CandidateTrainer
from .options import SearchOptions
from .problem import OnEpoch, SearchProblem, SearchResult

DISTORTIONS_NAME = "distortions.json"
#: Training images that distortions are measured on, and how many at once.
IMAGES, BATCH = 512, 64
#: θ of the knapsack's choice where a search starts from it.
START_PROBABILITY = 0.6


def search_by_knapsack(
    problem: SearchProblem, options: SearchOptions, run_dir: Path | None, on_epoch: OnEpoch | None = None
) -> SearchResult:
    """Measure every gate once, solve the knapsack, and train its network on from the weights that were measured."""
    started = time.monotonic()
    trainer = CandidateTrainer(problem, options, run_dir, on_epoch)
    network = cache(lambda: _trained(trainer))
    choices = least_distorted(known_distortions(trainer, run_dir, network), problem.latency, options)
    found = trainer.known(choices)
    if found is None:
        successor = trainer.successor(network(), choices)
        found = trainer.train_and_judge(successor, choices, options.candidate_epochs, fine_tuning=True)
    trainer.keep(found)
    return trainer.result(found, started)


def starting_theta(problem: SearchProblem, options: SearchOptions, run_dir: Path | None) -> dict[str, dict[str, float]]:
    """Label -> candidate -> θ for a search that starts from the knapsack's choice."""
    trainer = CandidateTrainer(problem, options, run_dir, None)
    choices = least_distorted(known_distortions(trainer, run_dir), problem.latency, options)
    return {
        label: {name: _start(name == choices[label], len(names)) for name in names}
        for label, names in trainer.candidates.items()
    }


def _start(chosen: bool, count: int) -> float:
    if count == 1:
        return 1.0
    return START_PROBABILITY if chosen else (1.0 - START_PROBABILITY) / (count - 1)


def known_distortions(
    trainer: CandidateTrainer, run_dir: Path | None, network: Callable[[], nn.Module] | None = None
) -> dict[str, dict[str, float]]:
    """The distortions in `run_dir`, or those that are measured now, of what `network` gives or a trained one."""
    path = run_dir / DISTORTIONS_NAME if run_dir is not None else None
    if path is not None and path.exists():
        return read_distortions(path)
    measured = _trained(trainer) if network is None else network()
    dataset = trainer.training_half
    images = dataset.normalized(dataset.train_images[:IMAGES])
    batches = [images[first : first + BATCH] for first in range(0, len(images), BATCH)]
    distortions = measured_distortions(
        measured, trainer.problem.space, trainer.candidates, batches, trainer.options.seed
    )
    if path is not None:
        write_whole_json(path, distortions)
    return distortions


def read_distortions(path: Path) -> dict[str, dict[str, float]]:
    """Distortions that a search has kept.

    Raises:
        Refusal: naming the file.
    """
    return read_json(path, dict[str, dict[str, float]], "distortions of a search (without it they are measured anew)")


def _trained(trainer: CandidateTrainer) -> nn.Module:
    """The all-ReLU network with MaxPool: from the weights that the search was given, else trained now."""
    problem = trainer.problem
    if problem.space.conv_weights == "separate":
        raise Refusal("knapsack measures gates in one trained network: set conv_weights: shared")
    choices = fixed_choices(problem.backbone, problem.space)
    network = trainer.network(choices)
    if problem.initial_weights is None:
        trainer.train_and_judge(network, choices, trainer.options.candidate_epochs)
    return network.to(problem.dataset.train_images.device)


def least_distorted(distortions: Values, latency: ExpectedLatency, options: SearchOptions) -> dict[str, str]:
    """The choices of the least distortion within the budget of the options, or at their λ."""
    budget = budget_of(latency, options)
    if budget is not None:
        budget.check()
        return budget.derive({label: {name: -d for name, d in names.items()} for label, names in distortions.items()})
    costs = {
        label: {name: d + options.latency_weight * latency.milliseconds[label][name] for name, d in names.items()}
        for label, names in distortions.items()
    }
    return latency.cheapest(costs, options.latency_weight)
