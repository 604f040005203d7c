"""CIFAR-10 on ResNet-18 with the paper's stem, on one GPU and within a time budget.

Trains the all-ReLU network, the control with AvgPool and the all-polynomial network, then searches and trains at
several λ. Writes results.json (with seeds) and the figures accuracy over latency and accuracy over ReLUs.

    python benchmarks/cifar10_gpu.py --budget-minutes 240 --root data -o runs/cifar10
    python benchmarks/cifar10_gpu.py --tiny -o runs/tiny        # synthetic images on the CPU, in seconds

Epochs follow from the budget: an epoch is timed first, a quarter of the budget goes to the three fixed networks, and
the rest is shared by the λ, half to the search and half to the training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rrnet_nni.evaluators.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.expected_latency import ExpectedLatency
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.fpga.cost import LatencyTable, build_lut
from rrnet_nni.fpga.cost.plot import figure_canvas, save_figure
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.operators import comparison_count, relu_count
from rrnet_nni.fpga.protocols import get_protocol
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices
from rrnet_nni.strategies import search
from rrnet_nni.strategies.options import SearchOptions

BACKBONE = "resnet18"
FIXED = {"relu": ("relu", "maxpool"), "relu+avgpool": ("relu", "avgpool"), "x2act": ("x2act", "avgpool")}
LATENCY_WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)
#: An epoch of Algorithm 1 costs about as much as this many epochs of training on all images.
SEARCH_EPOCH_COST = 5
MAX_EPOCHS = 200


@dataclass
class Run:
    """The images, the space and its costs, the clock, and what was measured so far."""

    options: argparse.Namespace
    dataset: ImageDataset
    space: SpaceOptions
    table: LatencyTable
    started: float
    epoch_s: float = 0.0

    def epochs(self, seconds: float) -> int:
        """Training epochs that fit into so many seconds."""
        return 1 if self.options.tiny else min(MAX_EPOCHS, max(2, int(seconds / self.epoch_s)))

    @property
    def remaining_s(self) -> float:
        return self.options.budget_minutes * 60 - (time.monotonic() - self.started)

    def train(self, choices: Mapping[str, str], epochs: int) -> dict[str, Any]:
        """Train one network and describe it."""
        torch.manual_seed(self.options.seed)
        network = build_network(BACKBONE, self.space, choices).to(self.dataset.train_images.device)
        training = TrainingOptions(
            epochs=epochs, batch_size=128, channels_last=not self.options.tiny, seed=self.options.seed
        )
        result = train_network(network, self.dataset, training, progress=lambda step: print(step, flush=True))
        operators = describe_space(BACKBONE, self.space)
        shapes = [operators.choices[label][chosen] for label, chosen in choices.items()]
        return {
            "accuracy": result.accuracy,
            "exploded_test_images": result.test.exploded,
            "skipped_steps": result.skipped_steps,
            "fallbacks": len(result.fallbacks),
            "latency_ms": self.table.latency_ms(choices),
            "relus": sum(map(relu_count, shapes)),
            "comparisons": sum(map(comparison_count, shapes)),
            "epochs": epochs,
            "seconds": result.seconds,
            "seed": self.options.seed,
            "choices": dict(choices),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    run = prepare(options)
    results: dict[str, Any] = {
        "backbone": BACKBONE,
        "dataset": run.dataset.name,
        "train_images": len(run.dataset.train_labels),
        "test_images": len(run.dataset.test_labels),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "budget_minutes": options.budget_minutes,
        "networks": [],
    }
    options.output.mkdir(parents=True, exist_ok=True)
    networks = results["networks"]
    if not options.tiny:
        # The first epoch pays for the start of the GPU, the second tells what one costs.
        for _ in range(2):
            run.epoch_s = run.train(fixed_choices(BACKBONE, run.space), 1)["seconds"]
    share_s = options.budget_minutes * 60 / 4 / len(FIXED)
    for name, kind in FIXED.items():
        trained = run.train(fixed_choices(BACKBONE, run.space, *kind), run.epochs(share_s))
        networks.append({"name": name, "latency_weight": None, **trained})
        write(options.output, results)
    weights = LATENCY_WEIGHTS[:2] if options.tiny else LATENCY_WEIGHTS
    for index, weight in enumerate(weights):
        share_s = run.remaining_s / (len(weights) - index) / 2
        found = search_at(run, weight, max(1, run.epochs(share_s / SEARCH_EPOCH_COST)))
        trained = run.train(found, run.epochs(share_s))
        networks.append({"name": f"λ = {weight:g}/ms", "latency_weight": weight, **trained})
        write(options.output, results)
    draw(options.output, results)
    print(f"wrote {options.output}/results.json and its figures")


def prepare(options: argparse.Namespace) -> Run:
    started = time.monotonic()
    if options.tiny:
        dataset = load_dataset(DataOptions("synthetic", image_size=16, train_images=64, test_images=64))
        space = SpaceOptions(width=0.125)
    else:
        if not torch.cuda.is_available():
            raise SystemExit("no CUDA GPU is present: --tiny runs a small form on the CPU")
        data = DataOptions(options.dataset, root=options.root, download=options.download)
        dataset, space = load_dataset(data).to("cuda"), SpaceOptions()
    space = replace(space, classes=dataset.classes, image_size=dataset.image_size, channels=dataset.channels)
    operators = describe_space(BACKBONE, space)
    device, protocol = load_device(options.device), get_protocol(options.protocol)
    table = build_lut(operators.choices, operators.fixed, device, protocol)
    return Run(options, dataset, space, table, started)


def search_at(run: Run, latency_weight: float, epochs: int) -> Mapping[str, str]:
    """The architecture that Algorithm 1 finds at one λ."""
    options = SearchOptions(
        epochs=max(2, epochs),
        warmup_epochs=1,
        latency_weight=latency_weight,
        seed=run.options.seed,
    )
    training = TrainingOptions(batch_size=32 if run.options.tiny else 128)
    return search(BACKBONE, run.space, run.dataset, ExpectedLatency(run.table), options, training).choices


def write(output: Path, results: Mapping[str, Any]) -> None:
    """results.json, after every network."""
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def draw(output: Path, results: Mapping[str, Any]) -> None:
    """Accuracy over latency, and over ReLUs."""
    for quantity, label in (("latency_ms", "2PC latency, ms"), ("relus", "ReLUs")):
        figure, ((axis,),) = figure_canvas(1)
        for network in results["networks"]:
            marker = "s" if network["latency_weight"] is None else "o"
            axis.plot(network[quantity], 100 * network["accuracy"], marker, color="C0")
            axis.annotate(network["name"], (network[quantity], 100 * network["accuracy"]), fontsize=7)
        axis.set(xlabel=label, ylabel="test accuracy, %", title=f"{results['backbone']}, {results['dataset']}")
        save_figure(figure, output / f"accuracy_{quantity}.png")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-minutes", type=float, default=60)
    parser.add_argument("--dataset", default="cifar10", help="cifar10, or folder with --root")
    parser.add_argument("--root", help="where torchvision keeps its files, or the image folder")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--device", default="zcu104")
    parser.add_argument("--protocol", default="beaver-ot")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--tiny", action="store_true", help="synthetic images, a narrow network and one epoch, on the CPU"
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
