"""Options that several verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..starting_files import DEFAULT_TASK, task_named

if TYPE_CHECKING:
    from ..task import Task


def add_task_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task",
        type=Path,
        default=DEFAULT_TASK,
        metavar="FILE",
        help="task file, or the name of one that comes with the package (default: %(default)s)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="take DIR/train/CLASS/* and DIR/test/CLASS/* as the task's images"
    )
    parser.add_argument("--seed", type=int, help="replaces the seed of the task file")


def read_task(options: argparse.Namespace) -> Task:
    """The task of `--task`, with the images of `--images` and the seed of `--seed`."""
    from dataclasses import replace

    from rrnet_nni.base.errors import Refusal

    from ..task import load_task

    task = load_task(task_named(options.task))
    if options.images is not None:
        task = replace(task, data=replace(task.data, name="folder", root=str(options.images.absolute())))
    if options.seed is None:
        return task
    try:
        return replace(task, seed=options.seed)
    except ValueError as error:
        raise Refusal(f"--{error}") from None
