"""`rrnet trial`: one NNI trial, one search at the λ that the tuner gives; every epoch is reported to the manager."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rrnet_nni.base.console import add_common_options, print_json

from .options import add_task_option, read_task

EPILOG = """example (as an NNI experiment file runs it):
  trialCommand: rrnet trial --task examples/digits.yml
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("trial", description=__doc__, epilog=EPILOG)
    add_task_option(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for every file that it writes (default: NNI's folder of the trial)",
    )
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from rrnet_nni.base.compatibility import keep_nni_off_stdout

    task = read_task(options)
    from ..experiments.trial import run_trial

    keep_nni_off_stdout()
    directory = options.output or Path(os.environ.get("NNI_OUTPUT_DIR", "runs/standalone-trial"))
    result = run_trial(task, directory)
    if options.json:
        print_json(result.to_dict())
    return 0
