"""In which numbers and layout a search trains its supernet.

First order takes what the self-test of `evaluators.arithmetic` finds fastest for the mixture, as a training does for
its network. Eq. 8 takes the difference of two gradients that lie close together, of which bfloat16 keeps no digit:
second order stays in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from torch import nn

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.arithmetic import Arithmetic, choose_arithmetic
from rrnet_nni.evaluators.kept_settings import read_settings

from ..options import SearchOptions
from ..problem import SearchProblem

ARITHMETIC_NAME = "search_arithmetic.json"
#: What another arithmetic must gain. A search is a chaotic function of its rounding: where little is to be won, as on
#: small images, the same seed should find the same network whatever a self-test measures.
LEAST_GAIN = 1.3


def stored_search_arithmetic(
    problem: SearchProblem, options: SearchOptions, supernet: Callable[[], nn.Module], run_dir: Path | None
) -> Arithmetic:
    """The arithmetic that the search in `run_dir` began with, or one chosen now and noted there.

    Args:
        supernet: makes a supernet of the problem, on which arithmetics are tried.

    Raises:
        Refusal: the note is damaged.
    """
    path = run_dir / ARITHMETIC_NAME if run_dir is not None else None
    if path is not None and path.exists():
        return Arithmetic(**read_settings(path))
    chosen = search_arithmetic(problem, options, supernet)
    if path is not None:
        write_whole_json(path, asdict(chosen))
    return chosen


def search_arithmetic(problem: SearchProblem, options: SearchOptions, supernet: Callable[[], nn.Module]) -> Arithmetic:
    """What `training.precision` asks for, as far as the order of the search allows it."""
    training = problem.training
    if options.order == 2 and options.hvp == "exact":
        return Arithmetic("float32", channels_last=False)  # the kernels of X2act have no second derivative
    images = problem.dataset.normalized(problem.dataset.train_images[: training.batch_size])
    network = supernet().to(images.device)
    return choose_arithmetic(
        network,
        images,
        training.precision,
        training.channels_last,
        bfloat16=options.order == 1,
        least_gain=LEAST_GAIN,
    )
