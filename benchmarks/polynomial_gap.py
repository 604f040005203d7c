"""What replacing ReLU and MaxPool costs in accuracy: train each kind of one backbone alike and print the gaps.

    python benchmarks/polynomial_gap.py resnet18 --width 0.25 --dataset folder --root FOLDER --train-images 10000 \
        --epochs 10 --batch-size 128 -o docs/results/resnet18.json

Results are written after every run; runs that the file already has are not repeated.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rrnet_nni.evaluators.data import DataOptions, load_dataset
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices

KINDS = {
    "relu": ("relu", "maxpool"),
    "relu+avgpool": ("relu", "avgpool"),
    "x2act": ("x2act", "avgpool"),
}


def main() -> None:
    options = parse()
    data = DataOptions(
        options.dataset, root=options.root, train_images=options.train_images, test_images=options.test_images
    )
    dataset = load_dataset(data)
    space = SpaceOptions(
        classes=dataset.classes, image_size=dataset.image_size, channels=dataset.channels, width=options.width
    )
    settings = {
        "backbone": options.backbone,
        "dataset": options.label or options.dataset,
        "train_images": len(dataset.train_labels),
        "test_images": len(dataset.test_labels),
        "space": space.to_dict(),
    }
    results = read(options.output, settings)
    for seed in options.seeds:
        for kind in options.kinds:
            training = TrainingOptions(epochs=options.epochs, batch_size=options.batch_size, seed=seed)
            if any(run["kind"] == kind and run["training"] == asdict(training) for run in results["runs"]):
                continue
            torch.manual_seed(seed)
            network = build_network(options.backbone, space, fixed_choices(options.backbone, space, *KINDS[kind]))
            result = train_network(network, dataset, training, progress=lambda step: print(step, flush=True))
            run = {
                "kind": kind,
                "seed": seed,
                "test_accuracy": result.accuracy,
                "exploded_test_images": result.test.exploded,
                "skipped_steps": result.skipped_steps,
                "last_epoch_loss": result.loss,
                "seconds": round(result.seconds, 1),
                "training": asdict(training),
            }
            results["runs"].append(run)
            if options.output:
                options.output.write_text(json.dumps(results, indent=1) + "\n")
            print({key: value for key, value in run.items() if key != "training"}, flush=True)


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
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


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
