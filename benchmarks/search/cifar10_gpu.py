"""CIFAR-10 on full-width ResNet-18 with the paper's stem, on one CUDA GPU, within a quarter of an hour.

    python benchmarks/search/cifar10_gpu.py --root data -o runs/cifar10     # torchvision's files, --download fetches
    python benchmarks/search/cifar10_gpu.py --dataset folder --root FOLDER -o runs/cifar10
    python benchmarks/search/cifar10_gpu.py --tiny -o runs/tiny             # synthetic images on the CPU, in seconds

Trains, for three seeds, an all-ReLU network and, from it and with it as teacher, the all-polynomial network, its
control (all-ReLU trained as long) and ReLU with AvgPool; then searches at six λ and trains what was found from the
teacher of seed 0. Everything lies on the GPU. OUTPUT/results.json has a row for every network that is finished, with
its seed; a run that was stopped goes on where it stood, and nothing begins that would not end within the budget.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accuracy import WEIGHTS, Bench, read_row, space_of, table
from accuracy_plan import KINDS, POLYNOMIAL, TUNING, Run, family

from rrnet_nni.base.figures import figure_canvas, save_figure
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.training import TrainingOptions
from rrnet_nni.fpga.cost import LatencyTable, build_lut
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import comparison_count, relu_count
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.search_spaces import SpaceOptions, fixed_choices
from rrnet_nni.strategies import search
from rrnet_nni.strategies.options import SearchOptions

BACKBONE = "resnet18"
LATENCY_WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


@dataclass(frozen=True)
class Size:
    """What the full form and the tiny one differ in."""

    data: DataOptions
    device: str
    width: float
    epochs: int
    search_epochs: int
    seeds: tuple[int, ...]
    latency_weights: tuple[float, ...]
    training: Mapping[str, Any]


def full(options: argparse.Namespace) -> Size:
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU is present: --tiny runs a small form on the CPU")
    data = DataOptions(options.dataset, root=options.root, download=options.download)
    # The rate of batches of 128, times four.
    training = {"batch_size": 512, "learning_rate": 0.4, "warmup_epochs": 5.0, "precision": "bfloat16"}
    return Size(data, "cuda", 1.0, 26, 6, (0, 1, 2), LATENCY_WEIGHTS, training)


def tiny() -> Size:
    data = DataOptions("synthetic", image_size=16, train_images=64, test_images=64)
    training = {"batch_size": 32, "precision": "float32", "channels_last": False}
    return Size(data, "cpu", 0.125, 1, 2, (0,), LATENCY_WEIGHTS[:2], training)


class Comparison:
    """The networks that are trained, what they cost, and the clock."""

    def __init__(self, size: Size, output: Path, budget_s: float) -> None:
        self.size, self.output, self.started, self.budget_s = size, output, time.monotonic(), budget_s
        self.bench = Bench(output, load_dataset(size.data).to(size.device), held_out=16)
        self.space: SpaceOptions = space_of(self.bench.dataset, size.width)
        self.operators = describe_space(BACKBONE, self.space)
        device, protocol = load_device("zcu104"), get_costs("beaver-ot")
        self.table: LatencyTable = build_lut(self.operators.choices, self.operators.fixed, device, protocol)
        self.rows: list[dict[str, Any]] = []
        self._longest: dict[str, float] = {}

    def run(self) -> bool:
        """Train one network after the other; whether there was time for all of them."""
        runs = [
            run
            for seed in self.size.seeds
            for run in family("full", BACKBONE, self.size.width, seed, self.size.epochs, self.size.training)
        ]
        fixed = all(self.train(run) for run in runs)
        return fixed and all(self.searched(weight, runs[0]) for weight in self.size.latency_weights)

    def train(self, run: Run, latency_weight: float | None = None) -> bool:
        row = read_row(self.output, run)
        if row is None:
            row = self.timed("training", lambda: self.bench.train(run))
        if row is None:
            return False
        choices = run.choices or fixed_choices(BACKBONE, self.space, *KINDS[run.kind])
        shapes = [self.operators.choices[label][chosen] for label, chosen in choices.items()]
        costs = {
            "latency_weight": latency_weight,
            "latency_ms": self.table.latency_ms(choices),
            "relus": sum(map(relu_count, shapes)),
            "comparisons": sum(map(comparison_count, shapes)),
        }
        self.rows.append({**row, **costs})
        write_whole_json(self.output / "results.json", self.results())
        return True

    def searched(self, latency_weight: float, teacher: Run) -> bool:
        """Search at one λ and train what was found as the fixed networks are."""
        folder = self.output / f"front/{latency_weight:g}"
        path = folder / "choices.json"
        if not path.exists():
            options = SearchOptions(epochs=self.size.search_epochs, warmup_epochs=1, latency_weight=latency_weight)
            training = TrainingOptions(batch_size=self.size.training["batch_size"] // 2)
            begun = torch.load(self.output / teacher.key / WEIGHTS, weights_only=True)
            found = self.timed(
                "search",
                lambda: search(
                    *(BACKBONE, self.space, self.bench.dataset, ExpectedLatency(self.table), options, training, folder),
                    initial_weights=begun,
                ),
            )
            if found is None:
                return False
            write_whole_json(path, dict(found.choices))
        choices = json.loads(path.read_text())
        tuned = replace(teacher, start=teacher.key, training={**self.size.training, **TUNING, **POLYNOMIAL})
        key = f"front/{latency_weight:g}/trained"
        return self.train(replace(tuned, key=key, kind="x2act", choices=choices), latency_weight)

    def timed(self, work: str, do: Callable[[], Any]) -> Any:
        """The result of `do`, or None where it would take longer than what is left, going by the longest so far."""
        began = time.monotonic()
        if began - self.started + self._longest.get(work, 0.0) > self.budget_s:
            return None
        result = do()
        self._longest[work] = max(self._longest.get(work, 0.0), time.monotonic() - began)
        return result

    def results(self) -> dict[str, Any]:
        dataset = self.bench.dataset
        return {
            "backbone": BACKBONE,
            "dataset": dataset.name,
            "train_images": len(dataset.train_labels),
            "test_images": len(dataset.test_labels),
            "device": torch.cuda.get_device_name() if self.size.device == "cuda" else "cpu",
            "runs": self.rows,
        }


def draw(output: Path, results: Mapping[str, Any]) -> None:
    """Accuracy over latency, and over ReLUs."""
    for quantity, label in (("latency_ms", "2PC latency, ms"), ("relus", "ReLUs")):
        figure, ((axis,),) = figure_canvas(1)
        for row in results["runs"]:
            if row["start"] is None:
                continue
            axis.plot(row[quantity], 100 * row["accuracy"], "s" if row["latency_weight"] is None else "o", color="C0")
        axis.set(xlabel=label, ylabel="test accuracy, %", title=f"{results['backbone']}, {results['dataset']}")
        save_figure(figure, output / f"accuracy_{quantity}.png")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    size = tiny() if options.tiny else full(options)
    comparison = Comparison(size, options.output, options.budget_minutes * 60)
    done = comparison.run()
    draw(options.output, comparison.results())
    print(table(comparison.rows))
    print(f"wrote {options.output}/results.json and its figures" if done else "the budget is spent: run it again")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-minutes", type=float, default=13)
    parser.add_argument("--dataset", default="cifar10", help="cifar10, or folder with --root")
    parser.add_argument("--root", help="where torchvision keeps its files, or the image folder")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="synthetic images, a narrow network, one epoch, on the CPU")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
