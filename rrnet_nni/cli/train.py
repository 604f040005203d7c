"""`rrnet train`: train one architecture, or go on with it, and report its accuracy in floating point and under 2PC."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rrnet_nni.base.console import add_common_options, print_json
from rrnet_nni.base.errors import Refusal

from .options import add_task_option, read_task

if TYPE_CHECKING:
    from torch import nn

    from ..architecture import Architecture
    from ..pipeline import Lesson
    from ..task import Task
    from ..workbench import Workbench

EPILOG = """examples:
  rrnet train runs/first/architecture.json --task examples/digits.yml -o runs/second
  rrnet train --activation relu --pooling maxpool -o runs/relu
  rrnet train --activation x2act --pooling avgpool --teacher runs/relu -o runs/distilled
  rrnet train --activation x2act --pooling avgpool --initial-weights runs/relu/weights.pt -o runs/tuned
  rrnet train runs/first/architecture.json --teacher-epochs 10 -o runs/third

A run that was killed goes on after its last whole epoch when the same command is given again.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("train", description=__doc__, epilog=EPILOG)
    parser.add_argument("architecture", nargs="?", type=Path, help="architecture.json of a search")
    parser.add_argument(
        "--activation",
        metavar="NAME",
        help="instead of a file: the candidate that every activation gets, such as relu or x2act",
    )
    parser.add_argument(
        "--pooling", choices=("maxpool", "avgpool"), help="instead of a file: the candidate that every pooling gets"
    )
    add_task_option(parser)
    parser.add_argument("--epochs", type=int, metavar="N", help="replaces the epochs of the task file")
    parser.add_argument(
        "--initial-weights", type=Path, metavar="FILE", help="weights.pt to start from (any choices of the backbone)"
    )
    parser.add_argument("--teacher", type=Path, metavar="DIR", help="distill from the trained network of this run")
    parser.add_argument(
        "--teacher-epochs", type=int, metavar="N", help="replaces the epochs of the task's teacher (0: no teacher)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder for every file that it writes"
    )
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    if (options.architecture is None) == (options.activation is None and options.pooling is None):
        raise Refusal("name either an architecture.json or --activation and --pooling")
    from rrnet_nni.base.files import output_folder

    from .search import print_result, print_training

    task, architecture = _task_and_architecture(options)
    from .. import pipeline
    from ..workbench import prepare

    bench = prepare(task)
    if architecture is None:
        architecture = _fixed(bench, options.activation or "relu", options.pooling or "maxpool")
    else:
        bench.check_images(architecture.space(), str(options.architecture))
        architecture = pipeline.priced_again(bench, architecture)
    output_folder(options.output)
    lesson = _lesson(options, bench)
    result = pipeline.finish(bench, architecture, options.output, print_training, **lesson)
    print_json(result.to_dict()) if options.json else print_result(result)
    return 0


def _task_and_architecture(options: argparse.Namespace) -> tuple[Task, Architecture | None]:
    """The task with the backbone and options of the architecture, where one was named."""
    from dataclasses import replace

    from ..architecture import read_architecture

    task = read_task(options)
    if options.epochs is not None:
        task = replace(task, training=replace(task.training, epochs=options.epochs))
    if options.teacher_epochs is not None:
        task = replace(task, teacher=replace(task.teacher, epochs=options.teacher_epochs))
    if options.architecture is None:
        return task, None
    architecture, space = read_architecture(options.architecture)
    return replace(task, backbone=architecture.backbone, space=space), architecture


def _fixed(bench: Workbench, activation: str, pooling: str) -> Architecture:
    from rrnet_nni.search_spaces import fixed_choices

    from ..pipeline import describe

    return describe(bench, fixed_choices(bench.task.backbone, bench.space, activation, pooling))


def _lesson(options: argparse.Namespace, bench: Workbench) -> Lesson:
    """What to learn from: the named teacher and weights, else what the task says."""
    from .. import pipeline
    from ..trained import read_weights
    from .search import print_training

    if options.teacher is None and options.initial_weights is None:
        return pipeline.teacher_of(bench, print_training)
    return {
        "initial_weights": read_weights(options.initial_weights) if options.initial_weights else None,
        "teacher": _teacher(options.teacher, bench) if options.teacher else None,
    }


def _teacher(directory: Path, bench: Workbench) -> nn.Module:
    """The trained network of another run."""
    from .. import pipeline
    from ..architecture import read_architecture
    from ..trained import load_trained

    architecture, space = read_architecture(directory / pipeline.ARCHITECTURE)
    bench.check_images(space, f"the teacher in {directory}")
    return load_trained(architecture, directory / pipeline.WEIGHTS)
