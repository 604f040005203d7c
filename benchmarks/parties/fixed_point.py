"""Fixed point against onnxruntime: how often trained networks name another class, and how far off each layer is.

    python benchmarks/parties/fixed_point.py                    the digits, ResNet-8
    python benchmarks/parties/fixed_point.py --images DIR       CIFAR-10 from DIR/train/CLASS/*, DIR/test/CLASS/*
    python benchmarks/parties/fixed_point.py -o docs/results/fixed_point.json

Networks are trained through the package: all ReLU and MaxPool, all X2act and AvgPool, every other choice of each, and
what `rrnet search` found (`searched/`, by backbone).
The images are those of the test set, then training images up to `--count`. Formats are chosen from training images that
the compiler calibrates with, 256 of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from rrnet_nni.architecture import Architecture
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.fixed_point import fixed_point_logits
from rrnet_nni.evaluators.images.data import DataOptions
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.pipeline import CALIBRATION, describe, export_trained, train_architecture
from rrnet_nni.search_spaces import SpaceOptions, fixed_choices
from rrnet_nni.task import Task
from rrnet_nni.workbench import Workbench, prepare

KINDS = ("relu", "poly", "mixed", "searched")
SEARCHED = Path(__file__).parents[1] / "searched"
SEED = 0


def choices_of(kind: str, backbone: str, space: SpaceOptions) -> dict[str, str]:
    """Every choice of one kind, of the two in turn, or those of a search."""
    if kind == "searched":
        return dict(Architecture.load(SEARCHED / f"{backbone}.json").choices)
    relu = fixed_choices(backbone, space, activation="relu", pooling="maxpool")
    polynomial = fixed_choices(backbone, space, activation="x2act", pooling="avgpool")
    mixed = {label: (relu if index % 2 else polynomial)[label] for index, label in enumerate(relu)}
    return {"relu": relu, "poly": polynomial, "mixed": mixed}[kind]


def evaluated_images(bench: Workbench, count: int) -> np.ndarray:
    """Test images, then training images that the compiler does not calibrate with, normalized."""
    unseen = bench.dataset.train_images[bench.task.calibration_images :]
    images = torch.cat([bench.dataset.test_images, unseen])[:count]
    return bench.dataset.normalized(images).cpu().numpy()


def float_logits(model: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: images[i : i + 1]})[0] for i in range(len(images))])


def measure(bench: Workbench, kind: str, count: int, directory: Path) -> dict[str, Any]:
    """Train, export and compile one network, and compare its logits."""
    task = bench.task
    started = time.process_time()
    architecture = describe(bench, choices_of(kind, task.backbone, bench.space))
    network, _, test = train_architecture(bench, architecture, directory)
    seconds = time.process_time() - started
    model = export_trained(bench, network.eval(), directory)
    hardware = task.hardware
    compile_model(model, directory / "build", hardware.device, hardware.protocol, directory / CALIBRATION)
    build = load_build(directory / "build")
    images = evaluated_images(bench, count)
    floats, fixed = float_logits(model, images), fixed_point_logits(build, images, seed=SEED)
    budget = build.report["error_budget"]
    worst = max(budget, key=lambda layer: layer["rms_error"] / max(layer["rms_value"], 1e-12))
    return {
        "dataset": bench.dataset.name,
        "backbone": task.backbone,
        "choices": kind,
        "test_accuracy": round(float(test.accuracy), 4),
        "images": len(images),
        "same_class": round(float((floats.argmax(1) == fixed.argmax(1)).mean()), 5),
        "logit_rms": round(float(np.sqrt(np.mean(floats**2))), 5),
        "logit_rms_error": round(float(np.sqrt(np.mean((floats - fixed) ** 2))), 6),
        "logit_largest_error": round(float(np.abs(floats - fixed).max()), 6),
        "layers_in_budget": len(budget),
        "worst_layer": worst["tensor"],
        "worst_layer_relative_rms": float(f"{worst['rms_error'] / max(worst['rms_value'], 1e-12):.3g}"),
        "training_cpu_s": round(seconds, 1),
    }


def make_task(options: argparse.Namespace) -> Task:
    """ResNet-8 on the digits, or ResNet-18 at a quarter of its width on CIFAR-10."""
    if options.images is None:
        task = Task("resnet8", DataOptions("digits"))
    else:
        data = DataOptions("folder", root=str(options.images), train_images=options.train_images, test_images=1000)
        task = Task("resnet18", data, space=SpaceOptions(width=0.25))
    training = replace(task.training, epochs=options.epochs) if options.epochs else task.training
    return replace(task, training=training, seed=SEED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of CIFAR-10 images; without it, the digits")
    parser.add_argument("--train-images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, help="instead of the task's own")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--choices", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("-o", "--output", type=Path, help="JSON file; networks that it has of other runs are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = prepare(make_task(options))
    rows = []
    for kind in options.choices:
        with tempfile.TemporaryDirectory() as directory:
            row = measure(bench, kind, options.count, Path(directory))
        print(json.dumps(row), flush=True)
        rows.append(row)
    if options.output is not None:
        merge(options.output, rows)
    return 0 if all(row["same_class"] >= 0.99 for row in rows) else 1


def merge(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows, in place of those of the same networks."""
    kept = json.loads(path.read_text()) if path.exists() else []
    replaced = {(row["dataset"], row["backbone"], row["choices"]) for row in rows}
    kept = [row for row in kept if (row["dataset"], row["backbone"], row["choices"]) not in replaced]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole_json(path, [*kept, *rows])


if __name__ == "__main__":
    sys.exit(main())
