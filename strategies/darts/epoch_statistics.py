"""What an epoch of a search measures on the way to its record."""

from __future__ import annotations

import time
from collections.abc import Mapping

from torch import Tensor

from rrnet_nni.evaluators.expected_latency import ExpectedLatency

from ..record import EpochRecord, RunningMean
from .gates import SupernetGates


class EpochStatistics:
    """Losses and accuracy of one epoch, from its beginning on.

    Attributes:
        skipped_updates: α updates that were left out because a gradient was not finite.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._train_loss, self._validation_loss, self._validation_accuracy = RunningMean(), RunningMean(), RunningMean()
        self.skipped_updates = 0

    def add_training(self, loss: Tensor) -> None:
        """The loss of one training batch."""
        self._train_loss.add(float(loss.detach()))

    def add_validation(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Loss and logits [N, classes] of one validation batch."""
        correct = (logits.argmax(dim=-1) == labels).float().mean()
        self._validation_accuracy.add(float(correct), len(labels))
        self._validation_loss.add(float(loss), len(labels))

    def record(
        self,
        epoch: int,
        phase: str,
        latency_weight: float,
        gates: SupernetGates,
        latency: ExpectedLatency | None,
        choices: Mapping[str, str],
    ) -> EpochRecord:
        """The record of the epoch as it stands; `choices` is the network that θ gives now."""
        expected_ms = None if latency is None else float(latency(gates.theta(), gates.candidates).detach())
        return EpochRecord(
            epoch=epoch,
            seconds=round(time.monotonic() - self._started, 3),
            phase=phase,
            train_loss=self._train_loss.mean(),
            validation_loss=self._validation_loss.mean(),
            validation_accuracy=self._validation_accuracy.mean(),
            latency_weight=latency_weight,
            expected_latency_ms=expected_ms,
            latency_ms=latency.profile(choices) if latency is not None else None,
            relus=latency.relus(choices) if latency is not None else None,
            comparisons=latency.comparisons(choices) if latency is not None else None,
            temperature=gates.temperature,
            decided=sum(gate.decided is not None for gate in gates),
            skipped_updates=self.skipped_updates,
            theta=gates.probabilities(),
            choices=choices,
        )
