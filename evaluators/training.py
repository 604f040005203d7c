"""Training a network from start to end, with a checkpoint after every epoch."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import nn

from rrnet_nni.base.files import whole_file
from rrnet_nni.search_spaces import x2act_modules

from .accuracy import Evaluation, evaluate
from .arithmetic import Arithmetic, choose_arithmetic
from .divergence import DivergenceGuard, Fallback
from .fused_squares import use_kernels
from .images.data import ImageDataset
from .kept_settings import read_checkpoint, refuse_other_settings
from .module import ClassificationModule, TrainingOptions
from .settling import Settling, settle

__all__ = ["ClassificationModule", "EpochProgress", "TrainingOptions", "TrainingResult", "evaluate", "train_network"]

CHECKPOINT = "training.ckpt"


@dataclass(frozen=True)
class EpochProgress:
    """Where a training run stands after an epoch: `epoch` of `epochs` done, mean loss, and the time still needed.

    The loss is the mean over the steps where it was finite; the others are among the `skipped_steps`.
    `network` is the one that trains on: who looks at it leaves it as it is.
    """

    epoch: int
    epochs: int
    loss: float
    skipped_steps: int
    remaining_s: float
    network: nn.Module = field(repr=False)


@dataclass(frozen=True)
class TrainingResult:
    """A finished training run: the last epoch's mean loss, the evaluation on the test images, and what went wrong."""

    test: Evaluation
    loss: float
    epochs: int
    skipped_steps: int
    fallbacks: tuple[Fallback, ...]
    seconds: float

    @property
    def accuracy(self) -> float:
        return self.test.accuracy


def train_network(
    network: nn.Module,
    dataset: ImageDataset,
    options: TrainingOptions,
    *,
    teacher: nn.Module | None = None,
    checkpoint_dir: Path | None = None,
    progress: Callable[[EpochProgress], None] | None = None,
) -> TrainingResult:
    """Train in place on all training images; the test images are looked at once, at the end.

    With `checkpoint_dir` a run that was killed goes on after its last whole epoch when it is called again; on the CPU
    it ends with the weights of an uninterrupted run. A run that diverges goes back to its last good epoch at half the
    learning rate. The dataset may lie on a GPU; the network is moved to it.

    Args:
        teacher: a trained network of the same images to distill from.

    Raises:
        Refusal: the checkpoint belongs to other training options, or is damaged.
        ExecutionFault: the run diverged again and again; the sentence names the layer.
    """
    started = time.monotonic()
    device = dataset.train_images.device
    loader = dataset.loader(
        dataset.train_images, dataset.train_labels, options.batch_size, training=True, seed=options.seed
    )
    network.to(device)
    report, guard = _EpochReport(options.epochs, progress), DivergenceGuard()
    callbacks: list[lightning.Callback] = [report, guard]
    if options.settling_epochs and next(x2act_modules(network), None) is not None:
        callbacks.append(Settling(options, network))
    resume: Path | None = None
    arithmetic: Arithmetic | None = None
    if checkpoint_dir is not None:
        callbacks.append(_EpochCheckpoint(checkpoint_dir / CHECKPOINT))
        resume, arithmetic = _usable_checkpoint(checkpoint_dir / CHECKPOINT, options)
    if arithmetic is None:
        some = dataset.normalized(dataset.train_images[: options.batch_size])
        arithmetic = choose_arithmetic(network, some, options.precision, options.channels_last)
        if options.compile:
            arithmetic = replace(arithmetic, fused=False)  # a compiler that sees through X2act fuses it itself
    module = ClassificationModule(options, len(loader), teacher.to(device) if teacher is not None else None, arithmetic)
    module.set_model(network)
    with quiet_lightning():
        trainer = lightning.Trainer(
            max_epochs=options.epochs,
            accelerator=device.type,
            devices=1 if device.type == "cpu" else [device.index or 0],
            precision=arithmetic.lightning,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(module, loader, ckpt_path=str(resume) if resume else None)
        finally:
            if module.teacher is not None:
                module.teacher.forget()
    network.to(device)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    use_kernels(network, None)
    settle(network, False)
    test = evaluate(network, dataset)
    seconds = time.monotonic() - started
    return TrainingResult(test, report.loss, options.epochs, module.skipped_steps, tuple(guard.fallbacks), seconds)


def _usable_checkpoint(path: Path, options: TrainingOptions) -> tuple[Path | None, Arithmetic | None]:
    """The checkpoint to go on from and the arithmetic that it was trained in, None where there is none."""
    if not path.exists():
        return None, None
    checkpoint = read_checkpoint(path, "a training", "training_options", "arithmetic")
    refuse_other_settings(str(path), checkpoint["training_options"], asdict(options))
    return path, Arithmetic(**checkpoint["arithmetic"])


class quiet_lightning(warnings.catch_warnings):
    """Silence Lightning's notes on devices and on loaders that it does not know; errors still show."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        self._loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        return entered

    def __exit__(self, *error: Any) -> None:
        for logger, level in zip(self._loggers, self._levels):
            logger.setLevel(level)
        super().__exit__(*error)


class _EpochReport(lightning.Callback):
    """Keeps the mean loss of the running epoch and tells the caller after each."""

    def __init__(self, epochs: int, progress: Callable[[EpochProgress], None] | None) -> None:
        self.epochs, self.progress = epochs, progress
        self.loss = float("nan")
        self._first_epoch: int | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loss = state_dict["loss"]

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if self._first_epoch is None:
            self._first_epoch, self._started = trainer.current_epoch, time.monotonic()
        self._total, self._steps = torch.zeros(()), torch.zeros((), dtype=torch.long)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"].detach()
        finite = torch.isfinite(loss)  # of a step that was left out it is not
        self._total = self._total + torch.where(finite, loss, 0.0)
        self._steps = self._steps + finite

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, ClassificationModule)
        self.loss = float(self._total) / int(self._steps) if self._steps else float("nan")
        if self.progress is not None:
            assert self._first_epoch is not None
            done = trainer.current_epoch + 1
            per_epoch = (time.monotonic() - self._started) / (done - self._first_epoch)
            remaining_s = per_epoch * (self.epochs - done)
            self.progress(EpochProgress(done, self.epochs, self.loss, module.skipped_steps, remaining_s, module.model))


class _EpochCheckpoint(lightning.Callback):
    """Writes one checkpoint after every epoch, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        with whole_file(self.path) as unfinished:
            trainer.save_checkpoint(unfinished)
