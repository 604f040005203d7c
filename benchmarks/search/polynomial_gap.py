"""What replacing ReLU and MaxPool costs in accuracy: train each kind of one backbone alike and print the gaps.

    python benchmarks/search/polynomial_gap.py resnet18 --width 0.25 --dataset folder --root FOLDER \
        --train-images 10000 --epochs 10 --batch-size 128 --channels-last -o docs/results/resnet18.json

Settings of a plain X2act (`--x2act plain`) are chosen without the test images: `--choose` trains the polynomial network
at every pair of w1 before training and relative learning rate of the coefficients on four fifths of the training
images, and prints the accuracies on the last fifth, best first.

Results are written after every run; runs that the file already has are not repeated.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import torch

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, holdout, load_dataset
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices
from rrnet_nni.search_spaces.options import X2ActForm

KINDS = {
    "relu": ("relu", "maxpool"),
    "relu+avgpool": ("relu", "avgpool"),
    "x2act": ("x2act", "avgpool"),
}


CHOICE_FRACTION = 0.2


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    data = DataOptions(
        options.dataset, root=options.root, train_images=options.train_images, test_images=options.test_images
    )
    dataset = load_dataset(data)
    space = SpaceOptions(
        classes=dataset.classes,
        image_size=dataset.image_size,
        channels=dataset.channels,
        width=options.width,
        x2act=options.x2act,
        x2act_w1=options.x2act_w1,
    )
    settings = {
        "backbone": options.backbone,
        "dataset": options.label or options.dataset,
        "train_images": len(dataset.train_labels),
        "test_images": len(dataset.test_labels),
        "space": space.to_dict(),
    }
    bench = Bench(options, dataset, space, read(options.output, settings))
    if options.choose:
        bench.choose()
        return
    for seed, kind in itertools.product(options.seeds, options.kinds):
        bench.train("runs", kind, bench.training(seed))
    print(bench.summary())


class Bench:
    """The runs of one backbone on one dataset, and the file that remembers them."""

    def __init__(
        self, options: argparse.Namespace, dataset: ImageDataset, space: SpaceOptions, results: dict[str, Any]
    ) -> None:
        self.options, self.dataset, self.space, self.results = options, dataset, space, results

    def training(self, seed: int) -> TrainingOptions:
        options = self.options
        return TrainingOptions(
            epochs=options.epochs,
            batch_size=options.batch_size,
            x2act_factor=options.x2act_factor,
            channels_last=options.channels_last,
            seed=seed,
        )

    def train(self, table: str, kind: str, training: TrainingOptions, **noted: Any) -> dict[str, Any]:
        """The run of these settings, made if `results[table]` does not have it yet."""
        runs = self.results.setdefault(table, [])
        key = {"kind": kind, **noted, "training": asdict(training)}
        for run in runs:
            if all(run.get(name) == value for name, value in key.items()):
                return dict(run)
        torch.manual_seed(training.seed)
        choices = fixed_choices(self.options.backbone, self.space, *KINDS[kind])
        network = build_network(self.options.backbone, self.space, choices)
        result = train_network(network, self.dataset, training, progress=lambda step: print(step, flush=True))
        run = {
            "kind": kind,
            "seed": training.seed,
            **noted,
            "accuracy": result.accuracy,
            "exploded_images": result.test.exploded,
            "skipped_steps": result.skipped_steps,
            "fallbacks": len(result.fallbacks),
            "last_epoch_loss": result.loss,
            "seconds": round(result.seconds, 1),
            "training": asdict(training),
        }
        runs.append(run)
        if self.options.output:
            write_whole_json(self.options.output, self.results)
        print({name: value for name, value in run.items() if name != "training"}, flush=True)
        return run

    def choose(self) -> None:
        """Judge every pair of the grid on a part of the training images that it was not trained on."""
        remaining, (images, labels) = holdout(self.dataset, CHOICE_FRACTION, seed=0)
        self.dataset = replace(remaining, test_images=images, test_labels=labels)
        space, found = self.space, {}
        for w1, factor in itertools.product(self.options.choose_w1, self.options.choose_factor):
            self.space = replace(space, x2act_w1=w1)
            runs = [
                self.train("choice", "x2act", replace(self.training(seed), x2act_factor=factor), x2act_w1=w1)
                for seed in self.options.seeds
            ]
            found[w1, factor] = [run["accuracy"] for run in runs]
        for (w1, factor), accuracies in sorted(found.items(), key=lambda item: -statistics.mean(item[1])):
            print(f"w1 {w1:g}, factor {factor:g}: {100 * statistics.mean(accuracies):.1f} % of {accuracies}")

    def summary(self) -> str:
        """Mean test accuracy of every kind and its seeds, and what each gives up to the first."""
        lines = []
        for kind in KINDS:
            runs = [run for run in self.results["runs"] if run["kind"] == kind]
            if runs:
                accuracies = [100 * run["accuracy"] for run in runs]
                each = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
                exploded = sum(run["exploded_images"] for run in runs)
                lines.append(f"{kind:14} {statistics.mean(accuracies):.1f} % ({each}), {exploded} exploded images")
        return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--label", help="what to call the dataset in the results")
    parser.add_argument("--root")
    parser.add_argument("--train-images", type=int)
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--x2act", default="normalized", choices=get_args(X2ActForm), help="how X2act is trained")
    parser.add_argument("--x2act-w1", type=float, help="w1 before training (default: the backbone's own)")
    parser.add_argument("--x2act-factor", type=float, default=0.01, help="learning rate of w1, w2 and b, relative")
    parser.add_argument("--choose", action="store_true", help="choose settings of X2act on held-out training images")
    parser.add_argument("--choose-w1", type=float, nargs="+", default=[0.005, 0.02, 0.05])
    parser.add_argument("--choose-factor", type=float, nargs="+", default=[0.01, 0.03])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.choose and options.x2act != "plain":
        parser.error("--choose has settings of the plain form alone: add --x2act plain")
    return options


def read(path: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Earlier results of the same settings, else an empty table of them."""
    if path is not None and path.exists():
        earlier = json.loads(path.read_text())
        if all(earlier[key] == value for key, value in settings.items()):
            return earlier
        raise SystemExit(f"{path} holds results of other settings")
    machine = {"torch": torch.__version__, "machine": platform.machine(), "threads": torch.get_num_threads()}
    return {**settings, **machine, "runs": []}


if __name__ == "__main__":
    main()
