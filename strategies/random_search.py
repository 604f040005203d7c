"""Random search: train architectures drawn at random, keep the one with the smallest objective."""

from __future__ import annotations

import math
import random
import time
from contextlib import suppress
from pathlib import Path

from .candidates import BudgetSpent, CandidateTrainer
from .options import SearchOptions
from .problem import OnEpoch, SearchProblem, SearchResult


def search_at_random(
    problem: SearchProblem, options: SearchOptions, run_dir: Path | None, on_epoch: OnEpoch | None = None
) -> SearchResult:
    """Uniform over the space, without repetition, until time, candidates or space are used up."""
    started = time.monotonic()
    trainer = CandidateTrainer(problem, options, run_dir, on_epoch)
    generator = random.Random(options.seed)
    size = math.prod(len(names) for names in trainer.candidates.values())
    drawn: set[tuple[str, ...]] = set()
    # A spent budget ends the search like a finished plan: the best network so far is the answer.
    with suppress(BudgetSpent):
        while len(drawn) < size:
            choices = {label: generator.choice(names) for label, names in trainer.candidates.items()}
            if tuple(choices.values()) not in drawn:
                drawn.add(tuple(choices.values()))
                trainer.measure(choices)
    return trainer.result(trainer.best(), started)
