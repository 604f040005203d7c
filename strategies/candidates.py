"""Candidates that are trained one at a time: what random search, greedy replacement and evolution have in common.

A candidate is judged by the objective of the gradient search, ζ_CE + λ·latency, after a short training on one half of
the training images; the other half judges.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole
from rrnet_nni.base.settings import checked
from rrnet_nni.evaluators.images.data import ImageDataset
from rrnet_nni.evaluators.images.search_split import stored_search_split
from rrnet_nni.evaluators.teaching.initial_weights import load_initial_weights
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.search_spaces import build_network, candidates_of

from .options import SearchOptions
from .problem import OnEpoch, SearchProblem, SearchResult
from .record import TENSORBOARD_NAME, EpochRecord, TensorBoardRecord

CANDIDATES_NAME = "candidates.jsonl"
#: Loss of one image at most, so that a single exploded image does not decide between networks.
_LOSS_CAP = 10.0


class BudgetSpent(Exception):
    """The search has used its time or its number of candidates; what was measured so far stands."""


@dataclass(frozen=True)
class MeasuredCandidate:
    """One trained candidate, judged on the validation half."""

    choices: Mapping[str, str]
    loss: float
    accuracy: float
    latency_ms: float
    seconds: float  # of computation, see `computation_seconds`

    def objective(self, latency_weight: float) -> float:
        """ζ_CE + λ·latency (Sec. III-C)."""
        return self.loss + latency_weight * self.latency_ms


class CandidateTrainer:
    """Trains and judges candidates within the budget of `options`, and remembers them in `run_dir`.

    A search that was killed asks for the same candidates again in the same order; those that are in `run_dir` already
    are answered from there.
    """

    def __init__(
        self, problem: SearchProblem, options: SearchOptions, run_dir: Path | None, on_epoch: OnEpoch | None
    ) -> None:
        self.problem, self.options = problem, options
        self.candidates = candidates_of(problem.backbone, problem.space)
        self.measured: list[MeasuredCandidate] = []
        self._known: dict[str, MeasuredCandidate] = {}
        self._path = run_dir / CANDIDATES_NAME if run_dir is not None else None
        self._curves = TensorBoardRecord(run_dir / TENSORBOARD_NAME) if run_dir and options.tensorboard else None
        self._on_epoch = on_epoch
        self._halves = _halves(problem.dataset, options.seed, run_dir)
        self._read()

    @property
    def training_half(self) -> ImageDataset:
        """The images that candidates are trained on, and as test images those that judge them."""
        return self._halves

    @property
    def spent_s(self) -> float:
        return sum(candidate.seconds for candidate in self.measured)

    @property
    def budget_left(self) -> bool:
        """Whether another candidate may begin."""
        budget = self.options.budget_s
        return (budget is None or self.spent_s < budget) and len(self.measured) < self.options.candidates

    def check_budget(self) -> None:
        """Raise `BudgetSpent` where another candidate may not begin."""
        if not self.budget_left:
            raise BudgetSpent

    def measure(self, choices: Mapping[str, str]) -> MeasuredCandidate:
        """Train the network of `choices` for `candidate_epochs`, and judge it."""
        self.check_budget()
        candidate = self.known(choices)
        if candidate is None:
            candidate = self.train_and_judge(self.network(choices), choices, self.options.candidate_epochs)
        self.keep(candidate)
        return candidate

    def network(self, choices: Mapping[str, str]) -> nn.Module:
        """The network of `choices` as a search begins to train it."""
        torch.manual_seed(self.options.seed)
        network = build_network(self.problem.backbone, self.problem.space, choices)
        if self.problem.initial_weights is not None:
            load_initial_weights(network, self.problem.initial_weights)
        return network

    def successor(self, network: nn.Module, choices: Mapping[str, str]) -> nn.Module:
        """The network of `choices` with every weight that it has in common with `network`."""
        made = build_network(self.problem.backbone, self.problem.space, choices)
        load_initial_weights(made, network.state_dict())
        return made.to(next(network.parameters()).device)

    def known(self, choices: Mapping[str, str]) -> MeasuredCandidate | None:
        """What this search or the one that it goes on from measured of `choices`."""
        return self._known.get(_key(choices))

    def train_and_judge(
        self, network: nn.Module, choices: Mapping[str, str], epochs: int, fine_tuning: bool = False
    ) -> MeasuredCandidate:
        """Train `network` in place and judge it; counts towards no budget until it is kept."""
        device = self.problem.dataset.train_images.device
        started = computation_seconds(device)
        training: TrainingOptions = replace(self.problem.training.unsettled(), epochs=epochs, seed=self.options.seed)
        if fine_tuning:
            training = replace(training, learning_rate=training.learning_rate / 5, warmup_epochs=0.0)
        if epochs:
            train_network(network, self._halves, training)
        loss, accuracy = judge(network, self._halves)
        spent_s = computation_seconds(device) - started
        return MeasuredCandidate(dict(choices), loss, accuracy, self.problem.latency.profile(choices), spent_s)

    def result(self, best: MeasuredCandidate, started: float) -> SearchResult:
        """The answer of a search that chose `best`."""
        latency = self.problem.latency
        return SearchResult(
            strategy=self.options.strategy_name,
            choices=best.choices,
            theta=self._one_hot(best.choices),
            expected_latency_ms=best.latency_ms,
            latency_ms=best.latency_ms,
            relus=latency.relus(best.choices),
            comparisons=latency.comparisons(best.choices),
            validation_accuracy=best.accuracy,
            latency_weight=self.options.latency_weight,
            seconds=time.monotonic() - started,
            seed=self.options.seed,
            candidates=tuple((m.choices, m.accuracy, m.latency_ms) for m in self.measured),
        )

    def best(self) -> MeasuredCandidate:
        """The kept candidate with the smallest objective."""
        return min(self.measured, key=lambda m: m.objective(self.options.latency_weight))

    def keep(self, candidate: MeasuredCandidate) -> None:
        """Count a candidate towards the budget and write it down, once."""
        self._known[_key(candidate.choices)] = candidate
        if candidate in self.measured:
            return
        self.measured.append(candidate)
        self._write()
        record = self._record(candidate)
        if self._curves is not None:
            self._curves.append(record)
        if self._on_epoch is not None:
            self._on_epoch(record)

    def _record(self, candidate: MeasuredCandidate) -> EpochRecord:
        latency = self.problem.latency
        return EpochRecord(
            epoch=len(self.measured) - 1,
            seconds=round(candidate.seconds, 3),
            phase="candidate",
            train_loss=None,
            validation_loss=candidate.loss,
            validation_accuracy=candidate.accuracy,
            latency_weight=self.options.latency_weight,
            expected_latency_ms=candidate.latency_ms,
            latency_ms=candidate.latency_ms,
            relus=latency.relus(candidate.choices),
            comparisons=latency.comparisons(candidate.choices),
            temperature=0.0,
            decided=len(candidate.choices),
            skipped_updates=0,
            theta=self._one_hot(candidate.choices),
            choices=candidate.choices,
        )

    def _one_hot(self, choices: Mapping[str, str]) -> dict[str, dict[str, float]]:
        return {
            label: {name: float(name == choices[label]) for name in names} for label, names in self.candidates.items()
        }

    def _write(self) -> None:
        if self._path is None:
            return
        known = [*self.measured, *(m for m in self._known.values() if m not in self.measured)]
        write_whole(self._path, "".join(json.dumps(vars(m)) + "\n" for m in known).encode())

    def _read(self) -> None:
        if self._path is None or not self._path.exists():
            return
        try:
            for line in self._path.read_text(encoding="utf-8").splitlines():
                candidate = checked(json.loads(line), MeasuredCandidate)
                self._known[_key(candidate.choices)] = candidate
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refusal(
                f"{self._path} holds no candidates of a search ({type(error).__name__}): remove it to start anew"
            ) from None


def _key(choices: Mapping[str, str]) -> str:
    return json.dumps(dict(choices), sort_keys=True)


def computation_seconds(device: torch.device) -> float:
    """The clock of budgets: processor seconds on a CPU, so that other work on the machine costs nothing."""
    return time.process_time() if device.type == "cpu" else time.monotonic()


def _halves(dataset: ImageDataset, seed: int, run_dir: Path | None) -> ImageDataset:
    """A dataset whose training images are one search half and whose test images are the other; test images stay out."""
    split = stored_search_split(dataset, seed, run_dir)
    return replace(
        dataset,
        train_images=dataset.train_images[split.train_indices],
        train_labels=dataset.train_labels[split.train_indices],
        test_images=dataset.train_images[split.validation_indices],
        test_labels=dataset.train_labels[split.validation_indices],
    )


@torch.inference_mode()
def judge(network: nn.Module, dataset: ImageDataset) -> tuple[float, float]:
    """(cross-entropy, accuracy) in eval mode on the dataset's test part; the loss of one image is capped."""
    network.eval()
    total, correct, count = 0.0, 0, 0
    for images, labels in dataset.loader(dataset.test_images, dataset.test_labels, 500):
        logits = network(images).float()
        losses = functional.cross_entropy(logits, labels, reduction="none")
        total += float(torch.nan_to_num(losses, nan=_LOSS_CAP, posinf=_LOSS_CAP).clamp(max=_LOSS_CAP).sum())
        correct += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    return total / count, correct / count
