"""The `rrnet` command line: one module a verb, collected here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from rrnet_nni.base.completion import completing
from rrnet_nni.base.console import Parser, run_command

from .. import __version__

#: Every verb, whose module is imported when it is used, and its line in the help.
VERBS = {
    "init": "look at an image folder and write a task and an experiment for it",
    "run": "the main job: search at several λ, choose, compile, execute, report",
    "stop": "end an experiment that runs",
    "show": "list the choices of a backbone",
    "search": "search at one latency weight, then train, export and compile",
    "train": "train a searched or fixed architecture",
    "export": "write a trained network as ONNX",
    "latency": "price a network under a two-party protocol",
    "paper-table": "the paper's ten latencies beside the model's",
    "devices": "list devices, or the constants of one",
    "report": "compare searched networks on one page",
    "trial": "one trial of an NNI experiment",
    "doctor": "what this machine lacks, and how to mend it",
}

EPILOG = """examples:
  rrnet run digits
  rrnet init my_images && rrnet run my_images_experiment.yml
  rrnet search --task examples/digits.yml --latency-weight 0.05 -o runs/first
  rrnet train runs/first/architecture.json --task examples/digits.yml -o runs/second
  rrnet export runs/first -o model.onnx
  rrnet latency runs/first/architecture.json --explain
  rrnet-2pc-compile model.onnx -o build/ && rrnet-2pc-run build/ --input photo.jpg
"""


def build_parser(wanted: Sequence[str] = tuple(VERBS)) -> Parser:
    """The parser; only the `wanted` verbs know their options, and importing those imports neither torch nor NNI."""
    parser = Parser(
        prog="rrnet",
        description="Search, train, export and price networks for two-party private inference.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"rrnet-nni {__version__}")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for verb, line in VERBS.items():
        if verb in wanted:
            import_module(f".{verb.replace('-', '_')}", __name__).add_parser(subparsers)
        else:
            subparsers.add_parser(verb, help=line)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet`; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    wanted = tuple(VERBS) if completing() else arguments[:1]
    return run_command(build_parser(wanted), lambda options: options.command(options), arguments, _names)


def _names() -> dict[str, Sequence[str]]:
    """What a shell is offered beside verbs, options, choices and files."""
    from rrnet_nni.fpga.devices import device_names
    from rrnet_nni.fpga.protocols import protocol_names
    from rrnet_nni.search_spaces.names import OWN_BACKBONES
    from rrnet_nni.strategies.options import STRATEGY_NAMES

    from ..starting_files import PACKAGED

    backbones = dict.fromkeys(("backbone", "network"), OWN_BACKBONES)
    tasks = dict.fromkeys(("task", "experiment"), PACKAGED)
    return {"device": device_names(), "protocol": protocol_names(), "strategy": STRATEGY_NAMES, **backbones, **tasks}
