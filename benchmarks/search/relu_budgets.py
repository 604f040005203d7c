"""Accuracy within a budget of comparisons: whole activations against slices of channels with shared signs.

    python benchmarks/search/relu_budgets.py run --images FOLDER --cache DIR [--only PREFIX] -o docs/results/relu_budgets.json
    python benchmarks/search/relu_budgets.py list --cache DIR
    python benchmarks/search/relu_budgets.py table docs/results/relu_budgets.json

DIR may be that of `accuracy.py`, whose teachers are then taken; those that are not there are trained by the same recipe.
Every run chooses its gates within its budget on training images alone, is fine-tuned from its seed's all-ReLU network
with that as teacher, and is judged on the test images, once. Choice, checkpoints and row lie in a folder under DIR: the
same command goes on where it stopped, and several processes may share the work. The last run is of full width, hours of
a core: `--only budgets/resnet18-full --device cuda` trains it and its teacher on a GPU.
"""

# ruff: noqa: E501 a command stands on one line

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accuracy import ROW, WEIGHTS, Bench, claimed, read_row, run_queue, space_of
from accuracy_plan import POLYNOMIAL, TUNING, Run, family

from rrnet_nni.base.files import whole_file, write_whole_json
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
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
QUARTER, HALF, FULL = "resnet18-quarter", "resnet18-half", "resnet18-full"


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

    @property
    def after(self) -> str | None:
        """Key of the run that must be finished before this one begins."""
        return self.time_of

    def options(self) -> TrainingOptions:
        """Of the fine-tuning."""
        training = {**self.teacher.training, **TUNING, **POLYNOMIAL}
        return replace(self.teacher, epochs=self.epochs, training=training).options()


def plan() -> Iterator[BudgetRun]:
    """All runs, the most important first: what decides the bars, then the strategies, then what wants a GPU."""
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
            yield BudgetRun(key, teacher, "whole", name, share=0.125, time_of=time_of)
    full = next(family(FULL, "resnet18", 1.0, 0, 10))
    yield BudgetRun(f"budgets/{FULL}/12900/slices/seed0", full, "slices", comparisons=12_900)


class BudgetBench:
    """Teachers, choices and fine-tunings in one cache; `search` are the options of searches."""

    def __init__(self, bench: Bench, search: SearchOptions) -> None:
        self.bench, self.search = bench, search

    @property
    def cache(self) -> Path:
        return self.bench.cache

    def train(self, run: BudgetRun) -> dict[str, Any] | None:
        """Choose, or read what was chosen; fine-tune, or go on; judge and write the row.

        The teacher is trained now if nobody does; None while another process does.
        """
        folder = self.cache / run.teacher.key
        with claimed(folder) as mine:
            if not mine:
                return None
            if read_row(self.cache, run.teacher) is None:
                self.bench.train(run.teacher)
        weights = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        return self._tuned(run, weights)

    def _tuned(self, run: BudgetRun, weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        folder, problem = self.cache / run.key, self.problem(run, weights)
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
            "contrast_bound": problem.dataset.contrast_bound,
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
        other = json.loads((self.cache / run.time_of / ROW).read_text())
        return int(run.epochs + round(other["search_s"] / max(other["epoch_s"], 1e-9)))

    def _chosen(self, run: BudgetRun, problem: SearchProblem, target: int, folder: Path) -> dict[str, Any]:
        path = folder / CHOICES
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        settings = STRATEGIES[run.strategy]
        options = replace(self.search, target_comparisons=target, seed=run.teacher.seed, **(settings or {}))
        device = self.bench.dataset.train_labels.device
        started = computation_seconds(device)
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
        found = {"choices": choices, "search_s": computation_seconds(device) - started}
        write_whole_json(path, found)
        return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for every network, budget and space: the mean over the seeds, and each."""
    lines = ["| network | budget | space | strategy | comparisons | ms | accuracy, % | exploded |", "| --- " * 8 + "|"]
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if _compares_strategies(row):
            continue
        name = f"{row['teacher']['backbone']}, width {row['teacher']['width']:g}"
        groups.setdefault((name, row["target"], row["space"], row["strategy"]), []).append(row)
    for (network, target, space, strategy), same in groups.items():
        mean = _accuracies(same)
        made, ms = max(row["comparisons_made"] for row in same), statistics.mean(row["latency_ms"] for row in same)
        exploded = sum(row["exploded_images"] for row in same)
        lines.append(f"| {network} | {target:,} | {space} | {strategy} | {made:,} | {ms:.3f} | {mean} | {exploded} |")
    return "\n".join(lines)


def strategies_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The strategies in equal processor time, the best first: what each one's time went into, and what came of it."""
    head = ("strategy", "search, s", "epochs of fine-tuning", "comparisons", "ms", "accuracy, %", "exploded")
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in filter(_compares_strategies, rows):
        groups.setdefault(row["strategy"], []).append(row)
    means = {name: statistics.mean(row["accuracy"] for row in same) for name, same in groups.items()}
    for name in sorted(groups, key=means.__getitem__, reverse=True):
        same = groups[name]
        made, ms = max(row["comparisons_made"] for row in same), statistics.mean(row["latency_ms"] for row in same)
        epochs = " / ".join(str(row["tuned_epochs"]) for row in same)
        cells = f"{statistics.mean(row['search_s'] for row in same):.0f} | {epochs} | {made:,} | {ms:.3f}"
        exploded = sum(row["exploded_images"] for row in same)
        lines.append(f"| `{name}` | {cells} | {_accuracies(same)} | {exploded} |")
    return "\n".join(lines)


def _compares_strategies(row: Mapping[str, Any]) -> bool:
    return "/strategies/" in row["key"]


def _accuracies(rows: Sequence[Mapping[str, Any]]) -> str:
    """Their mean in %, and each where there are several."""
    each = [100 * row["accuracy"] for row in rows]
    shown = " / ".join(f"{one:.2f}" for one in each)
    return f"{statistics.mean(each):.2f} ({shown})" if len(each) > 1 else shown


def main(arguments: Sequence[str] | None = None) -> None:
    settings = SearchOptions(epochs=5, warmup_epochs=1)
    run_queue(
        arguments,
        __doc__,
        plan(),
        lambda bench: BudgetBench(bench, settings),
        table,
        lambda row: f"{row['comparisons_made']:,} comparisons",
    )


if __name__ == "__main__":
    main()
