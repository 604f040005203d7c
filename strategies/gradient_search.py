"""Running RRNetDARTS on a search problem: the strategy names `rrnet` and `rrnet-first-order`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import nn

from rrnet_nni.evaluators.arithmetic import Arithmetic
from rrnet_nni.evaluators.images.search_split import stored_search_split
from rrnet_nni.evaluators.kept_settings import read_checkpoint
from rrnet_nni.evaluators.module import FLOAT32
from rrnet_nni.evaluators.teaching.initial_weights import load_initial_weights
from rrnet_nni.evaluators.training import ClassificationModule, quiet_lightning
from rrnet_nni.search_spaces import build_space

from .checkpoint import CHECKPOINT_NAME
from .darts.arithmetic import stored_search_arithmetic
from .darts.strategy import RRNetDARTS
from .knapsack_search import starting_theta
from .options import SearchOptions
from .problem import OnEpoch, SearchProblem, SearchResult
from .record import EpochRecord


def search_by_gradient(
    problem: SearchProblem, options: SearchOptions, run_dir: Path | None, on_epoch: OnEpoch | None = None
) -> SearchResult:
    """Algorithm 1 on `problem`; a search that was killed goes on from the checkpoint in `run_dir`."""
    return run_strategy(RRNetDARTS, problem, options, run_dir, on_epoch)


def search_by_first_order(
    problem: SearchProblem, options: SearchOptions, run_dir: Path | None, on_epoch: OnEpoch | None = None
) -> SearchResult:
    """The same search without the look-ahead."""
    return run_strategy(RRNetDARTS, problem, replace(options, order=1), run_dir, on_epoch)


def run_strategy(
    strategy_class: type[RRNetDARTS],
    problem: SearchProblem,
    options: SearchOptions,
    run_dir: Path | None,
    on_epoch: OnEpoch | None,
    split: bool = True,
) -> SearchResult:
    """Run a gradient strategy from its checkpoint, if there is one, to its end.

    Args:
        split: train α and ω on different halves of the training images; otherwise both see all of them.
    """
    started = time.monotonic()
    records: list[EpochRecord] = []

    def note(record: EpochRecord) -> None:
        records.append(record)
        if on_epoch is not None:
            on_epoch(record)

    start = starting_theta(problem, options, run_dir) if options.alpha_start == "knapsack" else None

    def supernet() -> nn.Module:
        scratch = strategy_class(latency=problem.latency, options=options)
        return scratch.mutate_model(build_space(problem.backbone, problem.space))

    arithmetic = stored_search_arithmetic(problem, options, supernet, run_dir)
    torch.manual_seed(options.seed)
    strategy = strategy_class(latency=problem.latency, options=options, run_dir=run_dir, on_epoch=note, theta=start)
    with quiet_lightning():
        evaluator = search_evaluator(problem, options, run_dir, split, arithmetic)
        space = build_space(problem.backbone, problem.space)
        if problem.initial_weights is not None and problem.space.conv_weights == "shared":
            load_initial_weights(space, problem.initial_weights)
        strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    choices = strategy.derived()
    expected = problem.latency(strategy.gates.theta(), strategy.gates.candidates)
    return SearchResult(
        strategy=options.strategy_name,
        choices=choices,
        theta=strategy.gates.probabilities(),
        expected_latency_ms=float(expected.detach()),
        latency_ms=problem.latency.profile(choices),
        relus=problem.latency.relus(choices),
        comparisons=problem.latency.comparisons(choices),
        validation_accuracy=records[-1].validation_accuracy if records else None,
        latency_weight=strategy.latency_weight,
        seconds=time.monotonic() - started,
        seed=options.seed,
    )


def search_evaluator(
    problem: SearchProblem,
    options: SearchOptions,
    run_dir: Path | None = None,
    split: bool = True,
    arithmetic: Arithmetic = FLOAT32,
) -> Lightning:
    """NNI's Lightning evaluator over two halves of the training images (Sec. IV-A), or over all of them twice."""
    dataset = problem.dataset
    if split:
        halves = stored_search_split(dataset, options.seed, run_dir)
        parts = (halves.train_indices, halves.validation_indices)
    else:
        parts = (torch.arange(len(dataset.train_labels)),) * 2
    training = replace(
        problem.training.unsettled(),
        epochs=options.epochs,
        seed=options.seed,
        clip_norm=options.gradient_clip or problem.training.clip_norm,
    )
    loaders = [
        dataset.loader(
            dataset.train_images[indices],
            dataset.train_labels[indices],
            training.batch_size,
            training=True,
            seed=2 * options.seed + half,
        )
        for half, indices in enumerate(parts)
    ]
    checkpoint = run_dir / CHECKPOINT_NAME if run_dir is not None and (run_dir / CHECKPOINT_NAME).exists() else None
    if checkpoint is not None:
        read_checkpoint(checkpoint, "a search", "rrnet_search", "state_dict", "optimizer_states", "epoch")
    trainer = Trainer(
        max_epochs=options.epochs,
        accelerator=dataset.train_images.device.type,
        devices=1,
        precision=arithmetic.lightning,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return Lightning(
        ClassificationModule(training, len(loaders[0]), arithmetic=arithmetic),
        trainer,
        train_dataloaders=loaders[0],
        val_dataloaders=loaders[1],
        fit_kwargs={"ckpt_path": str(checkpoint)} if checkpoint is not None else {},
    )
