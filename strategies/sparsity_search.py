"""Linearization by a sparsity penalty, in the spirit of SNL (Cho et al., 2022), at gate granularity.

Gates and weights are trained together on all training images, in first order, and the penalty counts comparisons
instead of milliseconds. To take the same λ (1/ms), every comparison is priced at the space's mean ms per comparison.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from .darts.module import RRNetDartsModule
from .darts.strategy import RRNetDARTS
from .darts.supernet_loss import Batch
from .gradient_search import run_strategy
from .options import SearchOptions
from .problem import OnEpoch, SearchProblem, SearchResult


def search_by_sparsity(
    problem: SearchProblem, options: SearchOptions, run_dir: Path | None, on_epoch: OnEpoch | None = None
) -> SearchResult:
    """One level instead of two: α follows the training loss and the number of comparisons."""
    return run_strategy(SparsityStrategy, problem, replace(options, order=1), run_dir, on_epoch, split=False)


class SparsityModule(RRNetDartsModule):
    """Updates α on the batch that ω is trained on, with a penalty on comparisons."""

    def architecture_step(self, train: Batch, validation: Batch) -> None:
        super().architecture_step(train, train)

    def latency_penalty(self) -> Tensor | None:
        """λ · (mean ms of a comparison) · Σ_l Σ_j θ_lj · comparisons_lj."""
        if self.latency is None:
            return None
        expected = self.latency.expected_comparisons(self.gates.theta(), self.gates.candidates)
        return self.latency_weight * self.latency.comparison_ms() * expected


class SparsityStrategy(RRNetDARTS):
    """The strategy around `SparsityModule`."""

    module_class = SparsityModule
