"""Strategies against each other: the same λ, the same compute, the same final training, several seeds.

Every strategy searches the digits at each λ with the processor time that the second-order search took there. What it
answers is trained anew on all training images and judged on the test images. A strategy's front over all λ is summed up
by its hypervolume: the area it dominates, as a share of (slowest - fastest network) x (accuracy from 0.8 to 1).

Budgets are processor time, because strategies that run one after the other would otherwise pay for what else the
machine does. The first-order and the sparsity search have their epochs chosen to fill the budget; the table says what
each strategy really took.

    python benchmarks/search/strategies.py --seeds 0 1 2 -o strategies.json

Results are written after every search; those that the file already has are not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import statistics
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.devices.load import load_device
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions, build_network
from rrnet_nni.strategies import SearchOptions, search, strategy_names
from rrnet_nni.strategies.pareto_front import Point, hypervolume, pareto_front

BACKBONE = "resnet8"
WORST_ACCURACY = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one search each per strategy and λ")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.03, 0.1, 0.3], metavar="λ")
    parser.add_argument("--epochs", type=int, default=7, help="of the second-order search")
    parser.add_argument("--training-epochs", type=int, default=10, help="of the final training")
    parser.add_argument("--image-size", type=int, default=8)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="every result as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)

    dataset = load_dataset(DataOptions(image_size=options.image_size))
    space = SpaceOptions(
        classes=dataset.classes, image_size=dataset.image_size, channels=dataset.channels, width=options.width
    )
    operators = describe_space(BACKBONE, space)
    table = build_lut(
        operators.choices, operators.fixed, load_device("zcu104"), get_costs("beaver-ot"), slices=operators.slices
    )
    latency = ExpectedLatency.of_space(operators, table)
    bench = Bench(space, dataset, latency, options.epochs, options.training_epochs)
    settings = {
        "backbone": BACKBONE,
        "dataset": dataset.name,
        "space": space.to_dict(),
        "epochs": options.epochs,
        "training_epochs": options.training_epochs,
        "threads": options.threads,
    }
    rows = read(options.output, settings)
    for seed, weight in itertools.product(options.seeds, options.weights):
        budget_s: float | None = None
        for strategy in strategy_names():  # the second-order search comes first and sets the budget
            row = find(rows, strategy=strategy, latency_weight=weight, seed=seed)
            if row is None:
                row = bench.run(strategy, weight, seed, budget_s)
                rows.append(row)
                print(json.dumps(row), flush=True)
                if options.output:
                    write_whole_json(options.output, {**settings, "rows": rows})
            budget_s = budget_s or row["search_s"]
    print(summary(rows, latency))


def read(path: Path | None, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Earlier results of the same settings."""
    if path is None or not path.exists():
        return []
    earlier = json.loads(path.read_text())
    if any(earlier[key] != value for key, value in settings.items()):
        raise SystemExit(f"{path} holds results of other settings")
    return list(earlier["rows"])


def find(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


class Bench:
    """Searches and final trainings of one task."""

    def __init__(
        self, space: SpaceOptions, dataset: ImageDataset, latency: ExpectedLatency, epochs: int, training_epochs: int
    ) -> None:
        self.space, self.dataset, self.latency = space, dataset, latency
        self.epochs = epochs
        self.training = TrainingOptions(epochs=training_epochs)
        self._trained: dict[tuple[Any, ...], float] = {}

    def run(self, strategy: str, weight: float, seed: int, budget_s: float | None) -> dict[str, Any]:
        options = SearchOptions(
            strategy=strategy,
            latency_weight=weight,
            seed=seed,
            epochs=self._epochs(strategy),
            warmup_epochs=2,
            budget_s=budget_s,
            candidates=10_000,
        )
        started = time.process_time()
        found = search(BACKBONE, self.space, self.dataset, self.latency, options, self.training)
        return {
            "strategy": strategy,
            "latency_weight": weight,
            "seed": seed,
            "search_s": round(time.process_time() - started, 2),
            "latency_ms": found.latency_ms,
            "relus": found.relus,
            "trained_candidates": len(found.candidates),
            "accuracy": self._accuracy(found.choices, seed),
        }

    def _epochs(self, strategy: str) -> int:
        """Epochs that fill the budget: a second-order step makes ten passes, a first-order step four.

        The sparsity search has both halves in each epoch, so its epochs are twice as long.
        """
        if strategy == "rrnet-first-order":
            return 2 + round((self.epochs - 2) * 2.5)
        if strategy == "sparsity":
            return 2 + round((self.epochs - 2) * 1.25)
        return self.epochs

    def _accuracy(self, choices: Any, seed: int) -> float:
        """Test accuracy after the final training; the same network and seed are trained once."""
        key = (seed, *sorted(choices.items()))
        if key not in self._trained:
            torch.manual_seed(seed)
            network = build_network(BACKBONE, self.space, choices)
            self._trained[key] = train_network(network, self.dataset, replace(self.training, seed=seed)).accuracy
        return self._trained[key]


def summary(rows: list[dict[str, Any]], latency: ExpectedLatency) -> str:
    """A table with mean and spread of the hypervolume over the seeds, best first."""
    fastest, slowest = latency.bounds_ms()
    areas: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    sizes: dict[str, list[int]] = defaultdict(list)
    for strategy, seed in sorted({(row["strategy"], row["seed"]) for row in rows}):
        own = [row for row in rows if (row["strategy"], row["seed"]) == (strategy, seed)]
        points = [Point(row["accuracy"], row["latency_ms"], row["latency_weight"]) for row in own]
        reachable = (1.01 * slowest - fastest) * (1 - WORST_ACCURACY)
        areas[strategy].append(hypervolume(points, 1.01 * slowest, WORST_ACCURACY) / reachable)
        sizes[strategy].append(len(pareto_front(points)))
        seconds[strategy].append(sum(row["search_s"] for row in own))
    lines = [
        "| strategy | hypervolume, mean ± standard deviation | each seed | points on the front | CPU s per seed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for strategy in sorted(areas, key=lambda name: -statistics.mean(areas[name])):
        each = ", ".join(f"{area:.3f}" for area in areas[strategy])
        lines.append(
            f"| {strategy} | {statistics.mean(areas[strategy]):.3f} ± {spread(areas[strategy]):.3f} | {each} | "
            f"{', '.join(map(str, sizes[strategy]))} | {statistics.mean(seconds[strategy]):.0f} |"
        )
    return "\n".join(lines)


def spread(values: list[float]) -> float:
    """Standard deviation over the seeds; zero for a single one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
