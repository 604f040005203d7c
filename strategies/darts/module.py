"""The Lightning module of the search: one α update and one ω update for each pair of batches (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nni.mutable import Sample
from nni.nas.oneshot.pytorch.differentiable import DartsLightningModule
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from rrnet_nni.base.errors import Refusal
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.kept_settings import refuse_other_settings

from ..budgets import budget_of, most_probable
from ..checkpoint import HARMLESS_OPTIONS, random_states, restore_random_states, save_checkpoint
from ..options import SearchOptions
from ..record import TENSORBOARD_NAME, EpochRecord, RecordFile, TensorBoardRecord
from .architecture_gradient import ArchitectureGradient, first_order, second_order
from .controller import BudgetController
from .epoch_statistics import EpochStatistics
from .gates import SupernetGates
from .look_ahead import LookAhead
from .supernet_loss import Batch, SupernetLoss, criterion_of, random_state_kept


class RRNetDartsModule(DartsLightningModule):
    """Wraps the evaluator's module and trains α and ω of its supernet in turns.

    Args:
        training_module: the evaluator's Lightning module, which says how ω is trained.
        gates: the gates of the supernet.
        latency: Lat(α), or None.
        options: settings of the search.
        record_path: file for one line of JSON per epoch, or None.
        checkpoint_path: file for the state of the search after each epoch, or None.
        on_epoch: called with the record of each epoch.
    """

    def __init__(
        self,
        training_module: LightningModule,
        *,
        gates: SupernetGates,
        latency: ExpectedLatency | None,
        options: SearchOptions,
        record_path: Path | None = None,
        checkpoint_path: Path | None = None,
        on_epoch: Callable[[EpochRecord], None] | None = None,
    ) -> None:
        super().__init__(
            training_module,
            arc_learning_rate=options.alpha_learning_rate,
            gradient_clip_val=options.gradient_clip,
            warmup_epochs=options.warmup_epochs,
        )
        self.gates = gates
        self.latency = latency
        self.options = options
        self.latency_weight = options.latency_weight
        self.budget = None if latency is None else budget_of(latency, options)
        self.controller: BudgetController | None = None
        if self.budget is not None:
            self.controller = BudgetController(self.budget, options.latency_weight)
            self.latency_weight = self.controller.integral
        self._criterion = criterion_of(training_module)
        self._records = RecordFile(record_path) if record_path else None
        self._curves = (
            TensorBoardRecord(record_path.parent / TENSORBOARD_NAME) if record_path and options.tensorboard else None
        )
        self._checkpoint_path = checkpoint_path
        self._on_epoch = on_epoch
        self._alphas: list[nn.Parameter] | None = None
        self._loss: SupernetLoss | None = None
        self._statistics = EpochStatistics()

    # -- architecture -------------------------------------------------------------------------------------------------

    def arch_parameters(self) -> list[nn.Parameter]:
        """α ordered by label; NNI's own order goes through a set and may change from one process to the next."""
        if self._alphas is None:
            self._alphas = self._ordered_alphas()
        return self._alphas

    def _ordered_alphas(self) -> list[nn.Parameter]:
        labelled = [gate.alpha for gate in self.gates]
        known = {id(alpha) for alpha in labelled}
        others = {
            id(parameter): parameter
            for module in self.supernet_modules()
            if hasattr(module, "arch_parameters")
            for parameter in module.arch_parameters()  # type: ignore[operator]
            if id(parameter) not in known
        }
        return labelled + list(others.values())

    def configure_architecture_optimizers(self) -> torch.optim.Optimizer:
        alphas = self.arch_parameters()
        if not alphas:
            raise Refusal("the search space has no choice: there is nothing to search")
        return torch.optim.Adam(
            alphas,
            self.options.alpha_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=self.options.alpha_weight_decay,
        )

    def latency_penalty(self) -> Tensor | None:
        """λ·Lat(α), what is added to ζ_CE, or λ times the price of the budget; None without a latency table."""
        if self.latency is None:
            return None
        theta, candidates = self.gates.theta(), self.gates.candidates
        if self.budget is None:
            return self.latency_weight * self.latency(theta, candidates)
        return self.latency_weight * self.budget.penalty_ms(self.budget.expected(theta, candidates))

    def derived(self) -> Sample:
        """argmax θ, or the most probable network within the budget."""
        if self.budget is not None:
            return most_probable(self.gates.probabilities(), self.budget)
        return self.gates.argmax()

    def export(self) -> Sample:
        return {**super().export(), **self.derived()}

    # -- steps --------------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Batch], batch_idx: int) -> Any:
        """One α update (after the warm-up) and one ω update."""
        train, validation = batch["train"], batch["val"]
        if self._searching():
            self.architecture_step(train, validation)
        else:
            self._observe_validation(validation)
        outputs = self.weight_step(train, batch_idx)
        self.advance_lr_schedulers(batch_idx)
        return outputs

    def architecture_step(self, train: Batch, validation: Batch) -> None:
        """Update α along δα with Adam (Algorithm 1, lines 3-15); skipped where a gradient is not finite."""
        optimizer = self.architecture_optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer)
        self._weight_optimizer().zero_grad()  # the last ω update has used them: a whole copy of ω
        alphas = [alpha for alpha in self.arch_parameters() if alpha.requires_grad]
        if alphas:
            found = self.architecture_gradient(alphas, train, validation)
            if found.finite:
                optimizer.zero_grad()
                for alpha, gradient in zip(alphas, found.gradients):
                    alpha.grad = gradient
                optimizer.step()
                optimizer.zero_grad()
            else:
                self._statistics.skipped_updates += 1
        else:
            self._observe_validation(validation)
        if self.controller is not None:
            expected = self.controller.budget.expected(self.gates.theta(), self.gates.candidates)
            self.latency_weight = self.controller.update(float(expected.detach()))

    def architecture_gradient(
        self, alphas: list[nn.Parameter], train: Batch, validation: Batch
    ) -> ArchitectureGradient:
        """δα of ζ_val(ω′, α) + λ·Lat(α) for these batches; changes neither weights, statistics nor random state."""
        loss = self._supernet_loss()

        def training_loss(at: Any) -> Tensor:
            rewind()
            return loss(at, train)

        def validation_loss(at: Any) -> Tensor:
            value, logits = loss.with_logits(at, validation)
            self._statistics.add_validation(value.detach(), logits.detach(), validation[1])
            penalty = self.latency_penalty()
            return value if penalty is None else value + penalty  # ζ(ω, α) = ζ_CE(ω, α) + λ·Lat(α)

        with random_state_kept(self.device) as rewind:
            if self.options.order == 1:
                return first_order(alphas, loss.weights, validation_loss)
            look_ahead = LookAhead.of(self._weight_optimizer(), loss.weights, self.options.gradient_clip)
            return second_order(
                alphas,
                loss.weights,
                training_loss,
                validation_loss,
                look_ahead,
                self.options.hvp,  # type: ignore[arg-type]
                self.options.epsilon,
            )

    def weight_step(self, train: Batch, batch_idx: int) -> Any:
        """Update ω with the evaluator's own optimizer (Algorithm 1, lines 16-19)."""
        open_alphas = [alpha for alpha in self.arch_parameters() if alpha.requires_grad]
        for alpha in open_alphas:
            alpha.requires_grad_(False)
        outputs = self.training_module.training_step(train, batch_idx)
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._statistics.add_training(loss)
        self.advance_optimization(loss, batch_idx, self.gradient_clip_val)
        for alpha in open_alphas:
            alpha.requires_grad_(True)
        return outputs

    def _weight_optimizer(self) -> torch.optim.Optimizer:
        return next(
            optimizer for optimizer in self.trainer.optimizers if not getattr(optimizer, "is_arch_optimizer", False)
        )

    def _supernet_loss(self) -> SupernetLoss:
        if self._loss is None:
            self._loss = SupernetLoss(self.model, self._criterion, self.arch_parameters())
        return self._loss

    def _searching(self) -> bool:
        return self.trainer.current_epoch >= self.options.warmup_epochs

    def _observe_validation(self, validation: Batch) -> None:
        """Loss and accuracy of the mixture where there is no α update to read them from."""
        with torch.no_grad(), random_state_kept(self.device):
            loss, logits = self._supernet_loss().with_logits({}, validation)
        self._statistics.add_validation(loss, logits, validation[1])

    # -- epochs -------------------------------------------------------------------------------------------------------

    def setup(self, stage: str = "") -> None:
        if self.trainer.world_size > 1:
            raise Refusal("the search runs on one device; give the trainer devices=1")
        epochs = self.trainer.max_epochs
        if epochs is not None and 0 <= epochs <= self.options.warmup_epochs:
            raise Refusal(
                f"warmup_epochs ({self.options.warmup_epochs}) must be less than the trainer's max_epochs ({epochs}): "
                "α would never move"
            )
        super().setup(stage)

    def on_train_epoch_start(self) -> None:
        self._statistics = EpochStatistics()
        self._loss = None  # the trainer may have moved the supernet to another device
        self.gates.temperature = self._temperature(self.trainer.current_epoch)
        self.training_module.on_train_epoch_start()

    def _temperature(self, epoch: int) -> float:
        """1 until the warm-up is over, then geometrically down to `temperature_end` in the last epoch."""
        first, last = self.options.warmup_epochs, (self.trainer.max_epochs or 0) - 1
        if epoch <= first or last <= first:
            return 1.0
        return float(self.options.temperature_end ** ((epoch - first) / (last - first)))

    def on_train_epoch_end(self) -> None:
        self.training_module.on_train_epoch_end()
        if self._searching() and self.options.freeze_threshold is not None:
            self.gates.freeze_decided(self.options.freeze_threshold)
        record = self._record()
        if self._records is not None:
            self._records.append(record)
        if self._curves is not None:
            self._curves.append(record)
        if self._checkpoint_path is not None:
            save_checkpoint(self.trainer, self._checkpoint_path)
        if self._on_epoch is not None:
            self._on_epoch(record)

    def _record(self) -> EpochRecord:
        phase = "search" if self._searching() else "warm-up"
        return self._statistics.record(
            self.trainer.current_epoch, phase, self.latency_weight, self.gates, self.latency, self.derived()
        )

    # -- checkpoint ---------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["rrnet_search"] = {
            "options": self.options.to_dict(),
            "gates": self.gates.state_dict(),
            "latency_weight": self.latency_weight,
            "controller": self.controller.integral if self.controller is not None else None,
            "random": random_states(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["rrnet_search"]
        refuse_other_settings("the checkpoint", state["options"], self.options.to_dict(), HARMLESS_OPTIONS)
        self.gates.load_state_dict(state["gates"])
        self.latency_weight = float(state["latency_weight"])
        if self.controller is not None and state["controller"] is not None:
            self.controller.integral = float(state["controller"])
        if self._records is not None:
            self._records.forget_from(int(checkpoint["epoch"]) + 1)
        restore_random_states(state["random"])
