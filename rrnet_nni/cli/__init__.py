"""The `rrnet` command line: one module a verb, collected here."""

from __future__ import annotations

from collections.abc import Sequence

from rrnet_nni.base.console import Parser, run_command

from .. import __version__
from . import devices, export, latency, paper_table, report, search, show, train, trial

VERBS = (show, search, train, export, latency, paper_table, devices, report, trial)

EPILOG = """examples:
  rrnet search --task examples/digits.yml --latency-weight 0.05 -o runs/first
  rrnet train runs/first/architecture.json --task examples/digits.yml -o runs/first
  rrnet export runs/first -o model.onnx
  rrnet latency runs/first/architecture.json --explain
  rrnet-2pc-compile model.onnx -o build/ && rrnet-2pc-run build/ --input images.npy
"""


def build_parser() -> Parser:
    """The parser with every verb. Importing this module imports neither torch nor NNI, so that help comes at once."""
    parser = Parser(
        prog="rrnet",
        description="Search, train, export and price networks for two-party private inference.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"rrnet-nni {__version__}")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        verb.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet`; returns the exit status."""
    return run_command(build_parser(), lambda options: options.command(options), arguments)
