"""Accuracy within a budget of comparisons: whole activations against slices of channels with shared signs.

    python benchmarks/search/relu_budgets.py run --images FOLDER --cache DIR [--only PREFIX] -o docs/results/relu_budgets.json
    python benchmarks/search/relu_budgets.py list --cache DIR
    python benchmarks/search/relu_budgets.py table docs/results/relu_budgets.json

DIR may be that of `accuracy.py`, whose teachers are then taken; those that are not there are trained by the same recipe.
Every run chooses its gates within its budget on training images alone, is fine-tuned from its seed's all-ReLU network
with that as teacher, and is judged on the test images, once. Choice, checkpoints and row lie in a folder under DIR: the
same command goes on where it stopped, and several processes may share the work.
"""

# ruff: noqa: E501 a command stands on one line

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accuracy import ROW, WEIGHTS, Bench, claimed, space_of
from accuracy_plan import POLYNOMIAL, TUNING, Run, family

from rrnet_nni.base.files import whole_file, write_whole_json
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.teaching.initial_weights import load_initial_weights
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import build_network, fixed_choices
from rrnet_nni.strategies import SearchOptions, search
from rrnet_nni.strategies.candidates import CandidateTrainer, computation_seconds
from rrnet_nni.strategies.knapsack_search import known_distortions, least_distorted
from rrnet_nni.strategies.problem import SearchProblem

CHOICES = "choices.json"
#: What is searched: name -> slices of every activation, and candidates beside ReLU and X2act.
SPACES: Mapping[str, tuple[int, tuple[str, ...]]] = {"whole": (1, ()), "slices": (8, ("relu2x2",))}
#: Strategies: name -> options of the search; the knapsack alone searches nothing.
STRATEGIES: Mapping[str, Mapping[str, Any] | None] = {
    "knapsack": None,
    "rrnet": {"alpha_start": "uniform"},
    "rrnet-from-knapsack": {"alpha_start": "knapsack"},
}
SHARES = (0.5, 0.25, 0.125, 0.07)
QUARTER, HALF = "resnet18-quarter", "resnet18-half"


@dataclass(frozen=True)
class BudgetRun:
    """One choice within a budget and its fine-tuning.

    Attributes:
        key: its name, and its folder under the cache.
        teacher: the all-ReLU network that it starts from and learns from.
        space, strategy: of `SPACES` and `STRATEGIES`.
        share, comparisons: the budget, as a part of the all-ReLU network's comparisons or as a number.
        epochs: of fine-tuning.
        time_of: key of a run whose processor time this one may spend too: what it does not search it trains.
    """

    key: str
    teacher: Run
    space: str
    strategy: str = "knapsack"
    share: float | None = None
    comparisons: int | None = None
    epochs: int = 10
    time_of: str | None = None

    def options(self) -> TrainingOptions:
        """Of the fine-tuning."""
        training = {**self.teacher.training, **TUNING, **POLYNOMIAL}
        return replace(self.teacher, epochs=self.epochs, training=training).options()


def plan() -> Iterator[BudgetRun]:
    """All runs, the most important first: what decides the bars, then the strategies."""
    quarters = {seed: next(family(QUARTER, "resnet18", 0.25, seed, 10)) for seed in (0, 1, 2)}
    for share in sorted(SHARES):
        for seed in quarters if share == min(SHARES) else (0,):
            for space in SPACES:
                key = f"budgets/{QUARTER}/{100 * share:g}%/{space}/seed{seed}"
                yield BudgetRun(key, quarters[seed], space, share=share)
    half = next(family(HALF, "resnet18", 0.5, 0, 10))
    yield BudgetRun(f"budgets/{HALF}/6400/slices/seed0", half, "slices", comparisons=6400)
    for seed, teacher in quarters.items():
        for name in sorted(STRATEGIES, key=lambda name: name == "knapsack"):
            key = f"budgets/{QUARTER}/strategies/{name}/seed{seed}"
            time_of = key.replace(name, "rrnet") if name == "knapsack" else None
            yield BudgetRun(key, teacher, "slices", name, share=0.125, time_of=time_of)


class BudgetBench:
    """Teachers, choices and fine-tunings in one cache; `search` are the options of searches."""

    def __init__(self, bench: Bench, search: SearchOptions) -> None:
        self.bench, self.search = bench, search

    def teacher(self, run: BudgetRun) -> dict[str, torch.Tensor] | None:
        """The weights of a run's teacher, trained now if nobody does; None while another process does."""
        folder = self.bench.cache / run.teacher.key
        if not (folder / ROW).exists():
            with claimed(folder) as mine:
                if not mine:
                    return None
                self.bench.train(run.teacher)
        weights: dict[str, torch.Tensor] = torch.load(folder / WEIGHTS, weights_only=True)
        return weights

    def finish(self, run: BudgetRun, weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Choose, or read what was chosen; fine-tune, or go on; judge and write the row."""
        folder, problem = self.bench.cache / run.key, self.problem(run, weights)
        latency = problem.latency
        target = run.comparisons or int((run.share or 1.0) * latency.comparison_bounds()[1])
        found = self._chosen(run, problem, target, folder)
        choices, space = found["choices"], problem.space
        torch.manual_seed(run.teacher.seed)
        network = build_network(problem.backbone, space, choices)
        load_initial_weights(network, weights)
        teacher = build_network(problem.backbone, space.uncut(), fixed_choices(problem.backbone, space.uncut()))
        teacher.load_state_dict(weights)
        options = replace(run.options(), epochs=self._epochs(run))
        result = train_network(
            network,
            problem.dataset,
            options,
            teacher=teacher,
            checkpoint_dir=folder,
            progress=lambda step: print(run.key, step, flush=True),
        )
        with whole_file(folder / WEIGHTS) as unfinished:
            torch.save(network.state_dict(), unfinished)
        row = {
            **asdict(run),
            "target": target,
            "comparisons_made": latency.comparisons(choices),
            "all_relu_comparisons": latency.comparison_bounds()[1],
            "latency_ms": latency.profile(choices),
            "accuracy": result.accuracy,
            "exploded_images": result.test.exploded,
            "images": result.test.images,
            "tuned_epochs": options.epochs,
            "search_s": found["search_s"],
            "epoch_s": result.seconds / options.epochs,
            "choices": choices,
        }
        write_whole_json(folder / ROW, row)
        print(run.key, f"{100 * result.accuracy:.2f} % with {row['comparisons_made']:,} comparisons", flush=True)
        return row

    def problem(self, run: BudgetRun, weights: Mapping[str, torch.Tensor]) -> SearchProblem:
        """The space of a run with its prices, and what its searches start from."""
        groups, extra = SPACES[run.space]
        backbone, dataset = run.teacher.backbone, self.bench.dataset
        space = replace(space_of(dataset, run.teacher.width), groups=groups, extra_activations=extra)
        operators = describe_space(backbone, space)
        device, protocol = load_device("zcu104"), get_costs("beaver-ot")
        table = build_lut(operators.choices, operators.fixed, device, protocol, slices=operators.slices)
        latency = ExpectedLatency.of_space(operators, table)
        return SearchProblem(backbone, space, dataset, latency, run.options(), weights)

    def _epochs(self, run: BudgetRun) -> int:
        """Of fine-tuning; what the search of another run took is trained instead."""
        if run.time_of is None:
            return run.epochs
        other = read_row(self.bench.cache, run.time_of)
        assert other is not None, "the queue trains it before"
        return int(run.epochs + round(other["search_s"] / max(other["epoch_s"], 1e-9)))

    def _chosen(self, run: BudgetRun, problem: SearchProblem, target: int, folder: Path) -> dict[str, Any]:
        path = folder / CHOICES
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        settings = STRATEGIES[run.strategy]
        options = replace(self.search, target_comparisons=target, seed=run.teacher.seed, **(settings or {}))
        started = computation_seconds(torch.device("cpu"))
        if settings is None:
            trainer = CandidateTrainer(problem, options, folder, None)
            distortions = known_distortions(trainer, folder)
            choices = least_distorted(distortions, problem.latency, options)
        else:
            choices = dict(
                search(
                    problem.backbone,
                    problem.space,
                    problem.dataset,
                    problem.latency,
                    options,
                    problem.training,
                    folder / "search",
                    lambda record: print(run.key, "search epoch", record.epoch, flush=True),
                    problem.initial_weights,
                ).choices
            )
        found = {"choices": choices, "search_s": computation_seconds(torch.device("cpu")) - started}
        write_whole_json(path, found)
        return found


def read_row(cache: Path, key: str) -> dict[str, Any] | None:
    path = cache / key / ROW
    return json.loads(path.read_text()) if path.exists() else None


def work(bench: BudgetBench, runs: Sequence[BudgetRun], output: Path | None) -> None:
    """Finish every run that no other process works at."""
    cache, passes_left = bench.bench.cache, True
    while passes_left:
        passes_left = False
        for run in runs:
            if read_row(cache, run.key) is not None or (run.time_of and read_row(cache, run.time_of) is None):
                continue
            with claimed(cache / run.key) as mine:
                weights = bench.teacher(run) if mine and read_row(cache, run.key) is None else None
                if weights is None:
                    continue
                bench.finish(run, weights)
                report(cache, runs, output)
                passes_left = True
                break


def report(cache: Path, runs: Sequence[BudgetRun], output: Path | None) -> None:
    if output is not None:
        rows = [row for row in (read_row(cache, run.key) for run in runs) if row is not None]
        write_whole_json(output, {"runs": rows})


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for every network, budget, space and strategy: the mean over the seeds, and each."""
    lines = ["| network | budget | space | strategy | comparisons | ms | accuracy, % | exploded |", "| --- " * 8 + "|"]
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        name = f"{row['teacher']['backbone']}, width {row['teacher']['width']:g}"
        groups.setdefault((name, row["target"], row["space"], row["strategy"]), []).append(row)
    for (network, target, space, strategy), same in groups.items():
        each = [100 * row["accuracy"] for row in same]
        shown = " / ".join(f"{one:.2f}" for one in each)
        mean = f"{statistics.mean(each):.2f} ({shown})" if len(each) > 1 else shown
        made, ms = max(row["comparisons_made"] for row in same), statistics.mean(row["latency_ms"] for row in same)
        exploded = sum(row["exploded_images"] for row in same)
        lines.append(f"| {network} | {target:,} | {space} | {strategy} | {made:,} | {ms:.3f} | {mean} | {exploded} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "list"):
        command = commands.add_parser(name)
        command.add_argument("--cache", type=Path, required=True, help="where checkpoints and rows are kept")
        command.add_argument("--only", default="", metavar="PREFIX", help="runs whose key begins so")
        command.add_argument("-o", "--output", type=Path, help="a file for all finished rows")
        if name == "run":
            command.add_argument("--images", type=Path, required=True, help="train/CLASS/* and test/CLASS/*")
    commands.add_parser("table").add_argument("rows", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "table":
        print(table(json.loads(options.rows.read_text())["runs"]))
        return
    runs = [run for run in plan() if run.key.startswith(options.only)]
    if options.command == "list":
        for run in runs:
            row = read_row(options.cache, run.key)
            print(
                f"{run.key:50}",
                f"{100 * row['accuracy']:6.2f} %  {row['comparisons_made']:,}" if row else "not finished",
            )
        report(options.cache, runs, options.output)
        return
    torch.set_num_threads(1)
    data = DataOptions("folder", root=str(options.images), cache_dir=str(options.cache / "images"))
    bench = Bench(options.cache, load_dataset(data))
    work(BudgetBench(bench, SearchOptions(epochs=5, warmup_epochs=1)), runs, options.output)


if __name__ == "__main__":
    main()
