"""`rrnet search`: one search at one λ (or --many), then training, export and compilation of what it found."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rrnet_nni.base.console import add_common_options, print_json
from rrnet_nni.base.errors import Refusal

from .many import add_many_options, search_many
from .options import add_task_option, read_task

if TYPE_CHECKING:
    from ..reports.results import Result

EPILOG = """example:
  rrnet search --task examples/digits.yml --latency-weight 0.05 -o runs/first
  rrnet search --task examples/digits.yml --comparisons 5000 -o runs/second
  rrnet search --task examples/digits.yml --many 6 -o runs/sweep        as `rrnet run`, without NNI's manager
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "search",
        description=__doc__,
        epilog=EPILOG,
    )
    add_task_option(parser)
    parser.add_argument("--latency-weight", type=float, metavar="λ", help="λ in 1/ms (default: the task file's)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--target-latency", type=float, metavar="MS", help="find the best network of at most MS ms")
    budget.add_argument(
        "--comparisons", type=int, metavar="N", help="find the best network of at most N comparisons, all included"
    )
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="replaces the task file's (where it has none: knapsack within a budget, rrnet otherwise)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder for every file that it writes"
    )
    parser.add_argument("--search-only", action="store_true", help="stop after architecture.json")
    add_many_options(parser)
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from rrnet_nni.base.compatibility import keep_nni_off_stdout
    from rrnet_nni.base.files import output_folder

    from ..task import check_latency_weight

    task = read_task(options)
    weight = task.search.latency_weight if options.latency_weight is None else options.latency_weight
    weight = check_latency_weight(weight, "--latency-weight")
    if options.strategy:
        try:
            task = replace(task, search=replace(task.search, strategy=options.strategy))
        except ValueError as error:
            raise Refusal(f"--strategy: {error}") from None
    if options.many is not None:
        return search_many(options, task)
    if options.target_latency is not None or options.comparisons is not None:
        budget = {"target_latency_ms": options.target_latency, "target_comparisons": options.comparisons}
        task = replace(task, search=replace(task.search, **budget))
    output_folder(options.output)
    # Everything that can be refused for its words alone is refused before torch and NNI take seconds to import.
    from .. import pipeline
    from ..workbench import prepare

    keep_nni_off_stdout()
    bench = prepare(task)
    lesson = pipeline.teacher_of(bench, print_training)
    architecture = pipeline.search_architecture(
        bench, weight, options.output, print_epoch, initial_weights=lesson.get("initial_weights")
    )
    if options.search_only:
        path = str(options.output / pipeline.ARCHITECTURE)
        answer = {
            "accuracy": None,
            "fixed_point_accuracy": None,
            "expected_latency_ms": architecture.expected_latency_ms,
            "latency_ms": architecture.latency_ms,
            "relus": architecture.relus,
            "comparisons": architecture.comparisons,
            "latency_weight": weight,
            "seed": task.seed,
            "architecture": path,
        }
        print_json(answer) if options.json else print(f"found {architecture.latency_ms:.3f} ms: {path}")
        return 0
    result = pipeline.finish(bench, architecture, options.output, print_training, **lesson)
    print_json(result.to_dict()) if options.json else print_result(result)
    return 0


def print_epoch(record: object) -> None:
    """One line a search epoch on standard error."""
    from rrnet_nni.strategies import EpochRecord

    assert isinstance(record, EpochRecord)
    accuracy = "–" if record.validation_accuracy is None else f"{100 * record.validation_accuracy:.1f} %"
    expected = "–" if record.expected_latency_ms is None else f"{record.expected_latency_ms:.3f} ms"
    sys.stderr.write(
        f"search epoch {record.epoch + 1}: {record.phase}, validation accuracy {accuracy}, "
        f"expected latency {expected}\n"
    )


def print_training(progress: object) -> None:
    """One line a training epoch on standard error."""
    from rrnet_nni.evaluators.training import EpochProgress

    assert isinstance(progress, EpochProgress)
    sys.stderr.write(
        f"training epoch {progress.epoch}/{progress.epochs}: loss {progress.loss:.4f}, "
        f"{progress.remaining_s:.0f} s left\n"
    )


def print_result(result: Result) -> None:
    """The result in a few lines on standard output."""
    fixed_point = result.fixed_point_accuracy
    under_2pc = "" if fixed_point is None else f", under 2PC {100 * fixed_point:.2f} %"
    print(f"test accuracy {100 * result.accuracy:.2f} %{under_2pc}")
    print(
        f"2PC latency {result.latency_ms:.3f} ms (modelled), {result.relus:,} ReLUs, {result.comparisons:,} comparisons"
    )
    for name in ("architecture", "checkpoint", "model", "build"):
        if getattr(result, name) is not None:
            print(f"{name + ':':13} {getattr(result, name)}")
    if result.uncompiled is not None:
        sys.stderr.write(f"warning: there is no build: {result.uncompiled}\n")
