"""`rrnet search --many`: a sweep over λ on this machine's cores, without NNI's manager."""

from __future__ import annotations

import argparse
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rrnet_nni.base.console import print_json
from rrnet_nni.base.errors import Refusal

from .run import EXECUTED_IMAGES

if TYPE_CHECKING:
    from ..task import Task

#: λ in 1/ms, as in the experiment files.
USUAL_WEIGHTS = (0.003, 0.3)


def add_many_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a sweep of searches")
    group.add_argument("--many", type=int, metavar="N", help="search at N λ that ParetoTuner chooses; -o is resumed")
    group.add_argument(
        "--weights",
        type=float,
        nargs=2,
        default=USUAL_WEIGHTS,
        metavar=("LOW", "HIGH"),
        help="range of these λ in 1/ms (default: {:g} {:g})".format(*USUAL_WEIGHTS),
    )
    group.add_argument("--workers", type=int, metavar="W", help="searches at a time (default: one a core)")


def search_many(options: argparse.Namespace, task: Task) -> int:
    """Run the sweep to its end, then finish the chosen network as `rrnet run` does."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = cores if options.workers is None else options.workers
    low, high = options.weights
    if options.many < 1 or workers < 1:
        raise Refusal(f"--many and --workers must be at least 1, not {options.many} and {workers}")
    if not 0 < low < high:
        raise Refusal(f"--weights must be two numbers above 0, the smaller first, not {low:g} and {high:g}")
    for name in ("latency_weight", "target_latency", "comparisons"):
        if getattr(options, name) is not None:
            raise Refusal(f"--{name.replace('_', '-')} is for one search; --many chooses λ itself")
    if options.search_only:
        raise Refusal("--search-only is for one search: --many compares networks that are trained")
    from rich.console import Console

    from rrnet_nni.evaluators.images.check import check_data

    from ..experiments.finishing import finish
    from ..experiments.progress import TrialsDisplay
    from ..experiments.sweep import Sweep, rrnet_command

    check_data(task.data)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // workers)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    repeated = _repeated(options)

    def command(weight: float, folder: Path) -> list[str]:
        return rrnet_command("search", *repeated, "--latency-weight", repr(weight), "-o", str(folder), "--json")

    sweep = Sweep(options.output, asdict(task), low, high, command)
    console = Console(stderr=options.json)
    with TrialsDisplay(console) as display:
        trials = sweep.run(options.many, workers, display.update)
    answer = finish(sweep, trials, options.output / "result", EXECUTED_IMAGES, console)
    if options.json:
        print_json(answer)
    return 0


def _repeated(options: argparse.Namespace) -> list[str]:
    """The options that every single search gets, too."""
    given = {
        "--task": options.task,
        "--images": options.images,
        "--seed": options.seed,
        "--strategy": options.strategy,
    }
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]
