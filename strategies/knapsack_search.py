"""The gates whose replacement changes the trained network least, as a knapsack: `knapsack`, and a start for `rrnet`.

Distortions of gates are taken to add up. Within a budget of latency or comparisons the best choice is then a
multiple-choice knapsack, which is solved exactly; at a given λ it is the least Σ distortion + λ·latency.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.distortion import measured_distortions
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.search_spaces import build_network, candidates_of, fixed_choices

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
    network = _trained(trainer)
    distortions = known_distortions(problem, options, run_dir, network, trainer)
    choices = least_distorted(distortions, problem.latency, options)
    found = trainer.known(choices)
    if found is None:
        successor = build_network(problem.backbone, problem.space, choices).to(next(network.parameters()).device)
        own = successor.state_dict()
        successor.load_state_dict({name: network.state_dict().get(name, tensor) for name, tensor in own.items()})
        found = trainer.train_and_judge(successor, choices, options.candidate_epochs, fine_tuning=True)
    trainer.keep(found)
    return trainer.result(found, started)


def starting_theta(problem: SearchProblem, options: SearchOptions, run_dir: Path | None) -> dict[str, dict[str, float]]:
    """Label -> candidate -> θ for a search that starts from the knapsack's choice."""
    trainer = CandidateTrainer(problem, options, run_dir, None)
    distortions = known_distortions(problem, options, run_dir, None, trainer)
    choices = least_distorted(distortions, problem.latency, options)
    return {
        label: {name: _start(name == choices[label], len(names)) for name in names}
        for label, names in trainer.candidates.items()
    }


def _start(chosen: bool, count: int) -> float:
    if count == 1:
        return 1.0
    return START_PROBABILITY if chosen else (1.0 - START_PROBABILITY) / (count - 1)


def known_distortions(
    problem: SearchProblem,
    options: SearchOptions,
    run_dir: Path | None,
    network: nn.Module | None,
    trainer: CandidateTrainer,
) -> dict[str, dict[str, float]]:
    """The distortions in `run_dir`, or those that are measured now of `network`, else of a trained one."""
    path = run_dir / DISTORTIONS_NAME if run_dir is not None else None
    if path is not None and path.exists():
        return read_distortions(path)
    network = _trained(trainer) if network is None else network
    dataset = trainer.training_half
    images = dataset.normalized(dataset.train_images[:IMAGES])
    batches = [images[first : first + BATCH] for first in range(0, len(images), BATCH)]
    candidates = candidates_of(problem.backbone, problem.space)
    distortions = measured_distortions(network, problem.space, candidates, batches, options.seed)
    if path is not None:
        write_whole_json(path, distortions)
    return distortions


def read_distortions(path: Path) -> dict[str, dict[str, float]]:
    """Distortions that a search has kept.

    Raises:
        Refusal: naming the file.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {str(label): {str(name): float(d) for name, d in names.items()} for label, names in document.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Refusal(f"{path} holds no distortions ({type(error).__name__}): remove it to measure anew") from None


def _trained(trainer: CandidateTrainer) -> nn.Module:
    """The all-ReLU network with MaxPool: from the weights that the search was given, else trained now."""
    problem = trainer.problem
    if problem.space.conv_weights == "separate":
        raise Refusal("knapsack measures gates in one trained network: set conv_weights: shared")
    choices = fixed_choices(problem.backbone, problem.space)
    network = trainer.network(choices)
    if problem.initial_weights is None:
        trainer.train_and_judge(network, choices, trainer.options.candidate_epochs)
    device = problem.dataset.train_images.device
    return network.to(device if isinstance(device, torch.device) else "cpu")


def least_distorted(distortions: Values, latency: ExpectedLatency, options: SearchOptions) -> dict[str, str]:
    """The choices of the least distortion within the budget of the options, or at their λ."""
    budget = budget_of(latency, options)
    if budget is not None:
        budget.check()
        return budget.derive({label: {name: -d for name, d in names.items()} for label, names in distortions.items()})
    return _at_weight(distortions, latency, options.latency_weight)


def _at_weight(distortions: Values, latency: ExpectedLatency, weight: float) -> dict[str, str]:
    """The least Σ distortion + λ·latency; slices of one activation pay for their messages once."""
    chosen: dict[str, str] = {}
    cut = {label: shared for shared in latency.messages.values() for label in shared.labels}

    def best(label: str, allowed: Mapping[str, float]) -> tuple[float, str]:
        prices = latency.milliseconds[label]
        return min((distortions[label][name] + weight * prices[name], name) for name in allowed)

    for label in distortions:
        if label not in cut:
            chosen[label] = best(label, distortions[label])[1]
    for shared in latency.messages.values():
        found: tuple[float, dict[str, str]] = (math.inf, {})
        for level in set(shared.milliseconds.values()):
            allowed = {name: ms for name, ms in shared.milliseconds.items() if ms <= level}
            picks = {label: best(label, allowed) for label in shared.labels}
            total = weight * level + sum(cost for cost, _ in picks.values())
            found = min(found, (total, {label: name for label, (_, name) in picks.items()}), key=lambda one: one[0])
        chosen |= found[1]
    return chosen
