"""The Lightning module that trains a classifier: a frozen network, or a supernet inside of an NNI strategy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional

from rrnet_nni.search_spaces import X2act, x2act_modules

from .arithmetic import Arithmetic
from .compilation import compiled_forward
from .distillation import Teacher
from .options import TrainingOptions
from .parameters import clip_or_drop_gradients, parameter_groups
from .settling import SETTLING_RANGE, settling_factor
from .stretching import stretched

#: Strength of the range loss at the start of a training, and all through a search.
RANGE_START = 0.01
FLOAT32 = Arithmetic("float32", channels_last=False)


class ClassificationModule(LightningModule):
    """Cross-entropy with the range loss, SGD on three parameter groups, and steps that cannot poison the weights.

    Under Lightning's automatic optimization the guards run in its hooks; a strategy that optimizes by hand calls
    `guarded_step` in place of `optimizer.step()`.

    Args:
        options: the recipe.
        steps_per_epoch: training batches of one epoch, for the learning-rate schedule.
        teacher: a trained network of the same task to distill from; its weights do not move.
        arithmetic: numbers and layout; the caller gives the trainer the same precision.

    Attributes:
        teacher: what there is to be learned from another network, None without one.
        skipped_steps: steps left out so far because their gradient was not finite.
        learning_rate_scale: factor of all learning rates, lowered after a divergence.
        range_strength: of the range loss, as far as it has grown.
    """

    def __init__(
        self,
        options: TrainingOptions,
        steps_per_epoch: int,
        teacher: nn.Module | None = None,
        arithmetic: Arithmetic = FLOAT32,
    ) -> None:
        super().__init__()
        self.options = options
        self.arithmetic = arithmetic
        self.steps_per_epoch = steps_per_epoch
        self.skipped_steps = 0
        self.learning_rate_scale = 1.0
        self.range_strength = RANGE_START
        self.teacher: Teacher | None = None
        if teacher is not None:
            arithmetic.prepare(teacher)
            self.teacher = Teacher(
                teacher,
                options.distillation_weight,
                options.distillation_temperature,
                options.feature_weight,
            )
        self._compiled: Callable[[Tensor], Tensor] | None = None
        # Walking a supernet's modules in every step would cost a tenth of it.
        self._squares: tuple[X2act, ...] = ()

    def set_model(self, model: nn.Module) -> None:
        """Take the network to train; with the option `compile`, run it compiled (its weights and names stay)."""
        super().set_model(model)
        self.arithmetic.prepare(model)
        self._squares = tuple(x2act_modules(model))
        for square in self._squares:
            square.range_bound = self.options.range_bound
        if self.teacher is not None:
            self.teacher.watch(model)
        if self.options.compile:
            self._compiled = compiled_forward(model)

    def forward(self, images: Tensor) -> Tensor:
        """images: normalized float [N, C, H, W] -> logits [N, classes]."""
        images = self.arithmetic.images(images)
        return self._compiled(images) if self._compiled is not None else self.model(images)

    def criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, and in training the range loss of the forward pass that made `logits`; no side effects."""
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.options.label_smoothing)
        if not self.model.training:
            return loss
        return loss + self.range_strength * self.options.range_weight * self.range_loss()

    def range_loss(self) -> Tensor | float:
        """Σ over X2act of the range excess of the last forward pass in training mode."""
        return sum((square.range_excess for square in self._squares if square.range_excess is not None), start=0.0)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        self.range_strength = self.range_strength_at(self.global_step)
        if self._squares:
            seed = self.options.seed * 1_000_003 + self.global_step
            images = stretched(images, self.options.stretch, self._stretching(self.global_step), seed)
        images = self.arithmetic.images(images)
        logits = self(images)
        loss = self.criterion(logits, labels)
        if self.teacher is not None:
            hard = functional.cross_entropy(logits, labels, label_smoothing=self.options.label_smoothing)
            loss = loss + self.teacher.loss(images, logits, hard)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self(images)
        hits = (logits.argmax(1) == labels).float().mean()
        self.log("val_acc", hits, prog_bar=True, batch_size=len(labels))
        self.log("val_loss", functional.cross_entropy(logits, labels), prog_bar=True, batch_size=len(labels))

    def configure_optimizers(self) -> dict[str, Any]:
        options = self.options
        groups = parameter_groups(self.model, options.learning_rate, options.weight_decay, options.x2act_factor)
        optimizer = torch.optim.SGD(groups, momentum=options.momentum, nesterov=options.momentum > 0)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.learning_rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def learning_rate_factor(self, step: int) -> float:
        """Linear warm-up, then cosine to zero, by training step; of the settling epochs for themselves."""
        total = self._moving_steps
        if self._settles(step):
            return self.learning_rate_scale * settling_factor((step - total) / self._settling_steps)
        warmup = min(self.options.warmup_epochs * self.steps_per_epoch, total / 2)
        if step < warmup:
            return self.learning_rate_scale * (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        return self.learning_rate_scale * 0.5 * (1 + math.cos(math.pi * done))

    def range_strength_at(self, step: int) -> float:
        """Constant, then linear to 1, then 1, by training step; in settling epochs more than that."""
        if self._settles(step):
            return SETTLING_RANGE
        onset = self.options.range_onset
        return min(1.0, max(RANGE_START, (self._done(step) - onset) / ((1 - onset) / 2)))

    def _settles(self, step: int) -> bool:
        """Whether this step is of a settling epoch."""
        return self._settling_steps > 0 and step >= self._moving_steps

    @property
    def _settling_steps(self) -> int:
        """Steps of the epochs in which a network with X2act settles."""
        return self.options.settling_epochs * self.steps_per_epoch if self._squares else 0

    @property
    def _moving_steps(self) -> int:
        """Steps before them, in which statistics move."""
        return self.options.epochs * self.steps_per_epoch - self._settling_steps

    def _done(self, step: int) -> float:
        return min(1.0, step / self._moving_steps)

    def _stretching(self, step: int) -> float:
        """Share of the steps that are done in which images are spread."""
        if not self._settling_steps:
            return self._done(step)
        return max(0.0, (step - self._moving_steps) / self._settling_steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["training_options"] = asdict(self.options)
        checkpoint["arithmetic"] = asdict(self.arithmetic)
        checkpoint["progress"] = {"skipped_steps": self.skipped_steps, "learning_rate_scale": self.learning_rate_scale}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped_steps = checkpoint["progress"]["skipped_steps"]
        self.learning_rate_scale = checkpoint["progress"]["learning_rate_scale"]

    def guarded_step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Clip, step and bound w1; leave the weights alone where a gradient is not finite. Whether it stepped."""
        kept = self._clip_or_skip(optimizer)
        optimizer.step()
        self._bound_squares()
        return kept

    def configure_gradient_clipping(self, optimizer: Any, *unused: Any, **also_unused: Any) -> None:
        self._clip_or_skip(optimizer)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self._bound_squares()

    def _bound_squares(self) -> None:
        """The condition under which no test image of plain X2act exploded."""
        for square in self._squares:
            square.bound_square(self.options.w1_bound)

    def _clip_or_skip(self, optimizer: torch.optim.Optimizer) -> bool:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        kept = clip_or_drop_gradients(parameters, self.options.clip_norm)
        self.skipped_steps += not kept
        return kept
