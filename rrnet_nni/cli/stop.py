"""`rrnet stop`: end an experiment; what is finished stays, and it can be resumed."""

from __future__ import annotations

import argparse
from pathlib import Path

from rrnet_nni.base.console import add_common_options, print_json

EPILOG = """example:
  rrnet stop 4kx0p2ab
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("stop", description=__doc__, epilog=EPILOG)
    parser.add_argument("experiment", metavar="ID", help="id of the experiment, which `rrnet run` printed")
    parser.add_argument(
        "--experiments",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder of experiments, `experimentWorkingDirectory` of their files (default: %(default)s)",
    )
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from ..experiments.background import stop_job

    said = stop_job(options.experiment, options.experiments)
    print_json({"experiment": options.experiment, "said": said}) if options.json else print(said)
    return 0
