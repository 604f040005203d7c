"""What a step of the search costs: over its bare passes, over NNI's own DARTS step, and in memory.

Every step takes its turn beside what it is compared with, in one process, and a ratio is the median over the rounds of
the ratio within a round, in processor seconds: load on the machine falls on both alike. Memory is what torch's
allocator has given out at the peak, which is the same in every run; the process's resident memory is printed beside it.
Only the ratios mean something.

    python benchmarks/search/search_step.py
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from rrnet_nni.base.compatibility import prepare_libraries

prepare_libraries()

from nni.nas.execution import SequentialExecutionEngine  # noqa: E402 (the libraries are prepared before they are used)
from nni.nas.oneshot.pytorch.strategy import DARTS  # noqa: E402
from nni.nas.space import RawFormatModelSpace  # noqa: E402
from pytorch_lightning import Callback  # noqa: E402

from rrnet_nni.evaluators.arithmetic import Arithmetic  # noqa: E402
from rrnet_nni.evaluators.expected_latency import ExpectedLatency  # noqa: E402
from rrnet_nni.evaluators.fused_squares import square_kernels  # noqa: E402
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset  # noqa: E402
from rrnet_nni.evaluators.module import FLOAT32  # noqa: E402
from rrnet_nni.evaluators.space_operators import describe_space  # noqa: E402
from rrnet_nni.evaluators.training import TrainingOptions  # noqa: E402
from rrnet_nni.fpga.cost.lut import build_lut  # noqa: E402
from rrnet_nni.fpga.devices.load import load_device  # noqa: E402
from rrnet_nni.fpga.protocols import get_costs  # noqa: E402
from rrnet_nni.search_spaces import SpaceOptions, build_space  # noqa: E402
from rrnet_nni.strategies import RRNetDARTS, SearchOptions, SearchProblem  # noqa: E402
from rrnet_nni.strategies.gradient_search import search_evaluator  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet20")
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=24, help="timed steps of each kind")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, and nothing else")
    parser.add_argument("--memory-of", choices=("first", "second"), help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=("live", "resident"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # A stage leaves NNI's engine by an exception, which NNI reports as an error.
    logging.disable(logging.ERROR)
    if options.memory_of:
        print(peak_of_two_steps(options))
        return
    ratios = {**memory_ratios(options), **time_ratios(options)}
    if options.json:
        print(json.dumps(ratios))
        return
    for name, value in ratios.items():
        print(f"{name:66} {value:.3f}")


def problem_of(options: argparse.Namespace) -> SearchProblem:
    dataset: ImageDataset = load_dataset(DataOptions(image_size=options.image_size))
    space = SpaceOptions(classes=dataset.classes, image_size=dataset.image_size, channels=dataset.channels)
    operators = describe_space(options.backbone, space)
    table = build_lut(
        operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"), slices=operators.slices
    )
    training = TrainingOptions(batch_size=options.batch_size)
    return SearchProblem(options.backbone, space, dataset, ExpectedLatency.of_space(operators, table), training)


STEPS_BEFORE = 1
WIDE_BACKBONE, WIDE_BATCH = "resnet18", 8


class Standing(Exception):
    """The trainer stands where it should."""


class Stage:
    """A strategy whose trainer stands in the middle of an epoch, so that single steps can be called."""

    def __init__(self, strategy: Any, problem: SearchProblem, arithmetic: Arithmetic = FLOAT32) -> None:
        settings = SearchOptions(epochs=1000, warmup_epochs=0)
        evaluator = search_evaluator(problem, settings, arithmetic=arithmetic)
        self.arithmetic = arithmetic
        torch.manual_seed(0)
        self.batch: Any = None
        holder = self

        class Stop(Callback):
            def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
                holder.batch = batch
                if batch_idx == STEPS_BEFORE:
                    raise Standing

        evaluator.trainer.callbacks.append(Stop())
        space = build_space(problem.backbone, problem.space)
        with contextlib.suppress(Standing):
            strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
        self.module = strategy.oneshot_module
        self.trainer = evaluator.trainer
        self.module.trainer = self.trainer
        self.module.train()
        # Away from a trainer's loop there is nowhere to log to.
        self.module.log = self.module.log_dict = lambda *_, **__: None
        self.module.training_module.log = self.module.log

    def step(self) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.arithmetic.precision == "bfloat16"):
            self.module.training_step(self.batch, 1)


def time_ratios(options: argparse.Namespace) -> dict[str, float]:
    problem = problem_of(options)
    settings = SearchOptions(epochs=1000, warmup_epochs=0, freeze_threshold=None)
    second = Stage(RRNetDARTS(latency=problem.latency, options=settings), problem)
    exact = Stage(RRNetDARTS(latency=problem.latency, options=settings, hvp="exact"), problem)
    first = Stage(RRNetDARTS(latency=problem.latency, options=settings, order=1), problem)
    stock = Stage(DARTS(), problem)
    fused = square_kernels() is not None
    laid_out = Stage(
        RRNetDARTS(latency=problem.latency, options=settings, order=1), problem, Arithmetic("float32", True, fused)
    )
    half = Stage(
        RRNetDARTS(latency=problem.latency, options=settings, order=1), problem, Arithmetic("bfloat16", True, fused)
    )
    times = alternate(
        options.steps,
        {
            "second": second.step,
            "bare": lambda: bare_passes(second),
            "exact": exact.step,
            "first": first.step,
            "stock": stock.step,
            "laid out": laid_out.step,
            "bfloat16": half.step,
        },
    )
    return {
        "second_order_step_over_its_bare_passes": median_ratio(times["second"], times["bare"]),
        "first_order_step_over_nni_darts_step": median_ratio(times["first"], times["stock"]),
        "second_order_step_over_first_order_step": median_ratio(times["second"], times["first"]),
        "exact_step_over_finite_difference_step": median_ratio(times["exact"], times["second"]),
        "first_order_step_in_channels_last_over_plain": median_ratio(times["laid out"], times["first"]),
        "first_order_step_in_bfloat16_over_plain": median_ratio(times["bfloat16"], times["first"]),
    }


def bare_passes(stage: Stage) -> None:
    """The passes of Algorithm 1 and nothing else: 4 forward and 4 backward for α, one of each for ω, with SGD's step.

    Backward passes go to the same tensors as in the search: ω, α and ω′, α, α, ω.
    """
    model, criterion = stage.module.model, stage.module.training_module.criterion
    alphas = [gate.alpha for gate in stage.module.gates]
    known = {id(alpha) for alpha in alphas}
    weights = [parameter for parameter in model.parameters() if id(parameter) not in known]
    train, validation = stage.batch["train"], stage.batch["val"]
    for batch, targets in ((train, weights), (validation, [*alphas, *weights]), (train, alphas), (train, alphas)):
        torch.autograd.grad(criterion(model(batch[0]), batch[1]), targets)
    for alpha in alphas:
        alpha.requires_grad_(False)
    optimizer = stage.trainer.optimizers[0]
    optimizer.zero_grad()
    criterion(model(train[0]), train[1]).backward()
    optimizer.step()
    for alpha in alphas:
        alpha.requires_grad_(True)


def alternate(rounds: int, steps: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Processor seconds of each step in rounds in which every step has its turn; two rounds before them warm up."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            started = time.process_time()
            step()
            taken[name].append(time.process_time() - started)
    return {name: seconds[2:] for name, seconds in taken.items()}


def median_ratio(ours: list[float], others: list[float]) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(mine / other for mine, other in zip(ours, others))


def memory_ratios(options: argparse.Namespace) -> dict[str, float]:
    """Peak memory of finite-difference steps over that of first-order steps, each in a process of its own.

    Once on the timed network with a batch twice as large, where activations decide, and once on a wide network with few
    images, where copies of ω decide.
    """
    ratios: dict[str, float] = {}
    cases = {
        "": (options.backbone, 2 * options.batch_size),
        "_of_a_wide_network": (WIDE_BACKBONE, WIDE_BATCH),
    }
    for name, (backbone, batch_size) in cases.items():
        (live, resident), (first_live, first_resident) = (
            peak_in_a_process(order, backbone, batch_size, options) for order in ("second", "first")
        )
        ratios[f"second_order_memory_over_first_order{name}"] = live / first_live
        ratios[f"second_order_resident_memory_over_first_order{name}"] = resident / first_resident
    return ratios


def peak_in_a_process(order: str, backbone: str, batch_size: int, options: argparse.Namespace) -> list[float]:
    """[bytes of live tensors, resident bytes] of two whole steps at their peak, measured in two processes."""
    peaks = []
    for measure in ("live", "resident"):
        command = [sys.executable, __file__, "--memory-of", order, "--measure", measure]
        command += ["--backbone", backbone, "--batch-size", str(batch_size)]
        command += ["--image-size", str(options.image_size), "--threads", str(options.threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
    return peaks


def peak_of_two_steps(options: argparse.Namespace) -> float:
    """Bytes that searching holds at its peak beyond the process before it: supernet, optimizers, batches, two steps."""
    problem = problem_of(options)
    settings = SearchOptions(epochs=1000, warmup_epochs=0, order=1 if options.memory_of == "first" else 2)

    def search() -> None:
        Stage(RRNetDARTS(latency=problem.latency, options=settings), problem).step()

    return peak_of_live_tensors(search) if options.measure == "live" else peak_of_resident_memory(search)


def peak_of_live_tensors(work: Callable[[], None]) -> float:
    """What torch's allocator had given out at most during `work`, by its own account: the same in every run."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            work()
        profiled.export_chrome_trace(str(trace))
        events = [event for event in json.loads(trace.read_text())["traceEvents"] if event.get("name") == "[memory]"]
    changes = [event["args"]["Bytes"] for event in sorted(events, key=lambda event: event["ts"])]
    return float(max(itertools.accumulate(changes)))


def peak_of_resident_memory(work: Callable[[], None]) -> float:
    """The process's high-water mark beyond where it stood (Linux); what the C library keeps back varies."""
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = _status_bytes("VmRSS")
    work()
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024.0 * int(line.split()[1])


if __name__ == "__main__":
    main()
