"""NNI's regularized evolution on the same objective and budget."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import nni
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import RegularizedEvolution

from rrnet_nni.search_spaces import build_space

from .candidates import CandidateTrainer
from .options import SearchOptions
from .problem import OnEpoch, SearchProblem, SearchResult

POPULATION, TOURNAMENT, MUTATION = 8, 3, 0.15


def search_by_evolution(
    problem: SearchProblem, options: SearchOptions, run_dir: Path | None, on_epoch: OnEpoch | None = None
) -> SearchResult:
    """Ageing evolution: a population of 8, tournaments of 3, 15 % mutation of each choice."""
    started = time.monotonic()
    trainer = CandidateTrainer(problem, options, run_dir, on_epoch)

    def evaluate(_: Any) -> None:
        candidate = trainer.measure({str(k): v for k, v in nni.get_current_parameter().sample.items()})
        nni.report_final_result(-candidate.objective(options.latency_weight))

    strategy = RegularizedEvolution(
        population_size=min(POPULATION, options.candidates),
        sample_size=min(TOURNAMENT, options.candidates),
        mutation_prob=MUTATION,
        seed=options.seed,
    )
    space = build_space(problem.backbone, problem.space)
    strategy(RawFormatModelSpace(space, FunctionalEvaluator(evaluate)), _BudgetedEngine(trainer))
    return trainer.result(trainer.best(), started)


class _BudgetedEngine(SequentialExecutionEngine):
    """Runs models here and now, until the budget of the candidates is spent."""

    def __init__(self, trainer: CandidateTrainer) -> None:
        super().__init__()
        self._trainer = trainer

    def budget_available(self) -> bool:
        return self._trainer.budget_left
