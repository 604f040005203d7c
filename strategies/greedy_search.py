"""Greedy replacement: give up the choice that costs the least accuracy per saved millisecond, again and again.

In the spirit of DeepReDuce (Jha et al., 2021), with losses that are measured instead of estimated: each candidate
replacement starts from the weights of the network that it replaces in, and is trained for one more epoch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from torch import nn

from .candidates import BudgetSpent, CandidateTrainer, MeasuredCandidate
from .options import SearchOptions
from .problem import OnEpoch, SearchProblem, SearchResult

_FINE_TUNING_EPOCHS = 1


def search_greedily(
    problem: SearchProblem, options: SearchOptions, run_dir: Path | None, on_epoch: OnEpoch | None = None
) -> SearchResult:
    """From the slowest network down, as long as a replacement lowers ζ_CE + λ·latency.

    Each round measures every single replacement and takes the one with the smallest Δζ_CE per saved ms. When the budget
    ends within a round, the best of those that were measured counts. A search that was killed trains again only what it
    goes on from: the first network, and the replacement of each round.
    """
    started = time.monotonic()
    trainer = CandidateTrainer(problem, options, run_dir, on_epoch)
    prices = problem.latency.milliseconds
    choices = {label: max(names, key=prices[label].__getitem__) for label, names in trainer.candidates.items()}
    network = trainer.network(choices)
    trained = trainer.train_and_judge(network, choices, options.candidate_epochs)
    current = trainer.known(choices) or trained
    trainer.keep(current)
    # A spent budget ends the search like a finished plan: the best network so far is the answer.
    with suppress(BudgetSpent):
        while (found := _best_replacement(trainer, network, current)) is not None:
            current, network = found
    return trainer.result(trainer.best(), started)


def _best_replacement(
    trainer: CandidateTrainer, network: nn.Module, current: MeasuredCandidate
) -> tuple[MeasuredCandidate, nn.Module] | None:
    """The replacement with the smallest loss per saved ms, trained; None where none lowers the objective."""
    weight = trainer.options.latency_weight
    best: tuple[float, MeasuredCandidate, nn.Module | None] | None = None
    for label, names in trainer.candidates.items():
        for name in names:
            choices = {**current.choices, label: name}
            saved_ms = current.latency_ms - trainer.problem.latency.profile(choices)
            if saved_ms <= 0:
                continue
            trainer.check_budget()
            successor: nn.Module | None = None
            measured = trainer.known(choices)
            if measured is None:
                successor, measured = _fine_tuned(trainer, network, choices)
            trainer.keep(measured)
            price = (measured.loss - current.loss) / saved_ms
            if price < weight and (best is None or price < best[0]):
                best = (price, measured, successor)
    if best is None:
        return None
    _, measured, successor = best
    return measured, successor or _fine_tuned(trainer, network, measured.choices)[0]


def _fine_tuned(
    trainer: CandidateTrainer, network: nn.Module, choices: Mapping[str, str]
) -> tuple[nn.Module, MeasuredCandidate]:
    """The network of `choices`, trained on from the weights of `network`."""
    successor = trainer.successor(network, choices)
    measured = trainer.train_and_judge(successor, choices, _FINE_TUNING_EPOCHS, fine_tuning=True)
    return successor, measured
