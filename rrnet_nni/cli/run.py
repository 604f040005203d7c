"""`rrnet run`: the main job, from an experiment file to two parties that execute the chosen network."""

from __future__ import annotations

import argparse
from pathlib import Path

from rrnet_nni.base.console import add_common_options, print_json
from rrnet_nni.base.errors import Refusal

EXECUTED_IMAGES = 200
EPILOG = """examples:
  rrnet run digits                         the task that comes with the package; writes its files here first
  rrnet run rrnet.yml                      search, choose, export, compile, execute in two processes, report
  rrnet run rrnet.yml --detach             the same in the background; rrnet stop ID ends it
  rrnet run rrnet.yml --resume 4kx0p2ab    go on with an experiment that was stopped
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("run", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "experiment", type=Path, help="NNI experiment file whose trials are `rrnet trial`, or a task of the package"
    )
    parser.add_argument("--resume", metavar="ID", help="go on with this stopped experiment instead of a new one")
    parser.add_argument("--count", type=int, default=EXECUTED_IMAGES, help="test images that two parties execute")
    parser.add_argument("--timeout", type=float, metavar="S", help="give up after this many seconds of searching")
    parser.add_argument("--detach", action="store_true", help="run in the background, and return once it has started")
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    if options.count < 1:
        raise Refusal(f"--count must be at least 1, not {options.count}")
    if options.timeout is not None and not options.timeout > 0:
        raise Refusal(f"--timeout must be above 0, not {options.timeout:g}")
    from ..starting_files import experiment_named

    options.experiment = experiment_named(options.experiment)
    if options.detach:
        return _detach(options)
    from ..experiments import main_job

    return main_job.run(options)


def _detach(options: argparse.Namespace) -> int:
    from ..experiments.background import start_detached
    from ..experiments.experiment_file import check_before_trials, read_experiment

    described = read_experiment(options.experiment)
    check_before_trials(described)
    arguments = [str(options.experiment), "--count", str(options.count)]
    arguments += ["--resume", options.resume] if options.resume else []
    arguments += ["--timeout", str(options.timeout)] if options.timeout is not None else []
    experiment, web_ui, log = start_detached(arguments, described.directory)
    if options.json:
        print_json({"experiment": experiment, "web_ui": web_ui, "log": str(log)})
    else:
        print(f"experiment {experiment} runs, web UI on {web_ui} (this machine only)")
        print(f"its words go to {log}; end it with: rrnet stop {experiment} --experiments {described.directory}")
    return 0
