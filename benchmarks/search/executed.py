"""Trained networks as they are executed: fixed point beside float on all test images, two parties beside onnxruntime.

    python benchmarks/search/executed.py resnet18-half/seed0/x2act --images FOLDER --cache DIR -o FILE.json
    python benchmarks/search/executed.py --show docs/results/executed.json

DIR is the cache of `accuracy.py`, whose finished runs are named by their keys. A network is exported and compiled once
into DIR/KEY/executed; logits are kept there part by part, so that the same command goes on where it was stopped.
Formats are chosen from 256 training images. Two parties are two processes and a dealer on this machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import WEIGHTS, Bench, read_row
from accuracy_plan import Run, plan

from rrnet_nni.base.files import whole_file, write_whole_json
from rrnet_nni.evaluators.fixed_point import fixed_point_logits
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset
from rrnet_nni.experiments.finishing import run_json
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.reports.agreement import compare_logits, onnx_logits

CALIBRATION_IMAGES = 256
DEVICE = "zcu104"
#: Images of a part that fixed point, and two parties, are asked for at once.
FIXED_PART, EXECUTED_PART = 500, 50


class Executed:
    """One trained network in float, in fixed point and between two parties."""

    def __init__(self, bench: Bench, run: Run, protocol: str, ring: str) -> None:
        self.bench, self.run, self.protocol, self.ring = bench, run, protocol, ring
        self.folder = bench.cache / run.key / "executed"
        self.model, self.build = self.folder / "model.onnx", self.folder / f"build-{protocol}-{ring}"

    def prepare(self) -> None:
        """Export and compile, where that was not done."""
        dataset = self.bench.dataset
        if not self.model.exists():
            network = self.bench.network(self.run, dataset)
            network.load_state_dict(torch.load(self.bench.cache / self.run.key / WEIGHTS, weights_only=True))
            shape = (dataset.channels, dataset.image_size, dataset.image_size)
            with whole_file(self.model) as unfinished:
                export_onnx(network.eval(), shape, unfinished, dataset.image_format(self.run.key))
        if not (self.build / "report.json").exists():
            calibration = self.folder / "calibration.npz"
            np.savez(calibration, image=dataset.normalized(dataset.train_images[:CALIBRATION_IMAGES]).numpy())
            compile_model(self.model, self.build, DEVICE, self.protocol, calibration, ring=self.ring)

    def images(self, start: int, stop: int) -> np.ndarray:
        normalized: np.ndarray = self.bench.dataset.normalized(self.bench.dataset.test_images[start:stop]).numpy()
        return normalized

    def floats(self, start: int, stop: int) -> np.ndarray:
        return onnx_logits(self.model, self.images(start, stop))

    def fixed(self, start: int, stop: int) -> np.ndarray:
        return fixed_point_logits(load_build(self.build), self.images(start, stop), seed=start)

    def two_parties(self, start: int, stop: int) -> np.ndarray:
        pictures = self.folder / "images.npy"
        np.save(pictures, self.images(start, stop))
        answer = run_json("rrnet-2pc-run", [str(self.build), "--input", str(pictures), "--units", "model"])
        return np.asarray(answer["logits"], dtype=np.float64).reshape(stop - start, -1)

    def logits(self, name: str, compute: Callable[[int, int], np.ndarray], count: int, part: int) -> np.ndarray:
        """[count, classes]: computed part by part, each kept once it is there."""
        kept = []
        for start in range(0, count, part):
            stop = min(start + part, count)
            path = self.folder / name / f"{start}-{stop}.npy"
            if not path.exists():
                found = compute(start, stop)
                with whole_file(path) as unfinished, unfinished.open("wb") as file:
                    np.save(file, found)
                print(self.run.key, name, stop, "of", count, flush=True)
            kept.append(np.load(path))
        return np.concatenate(kept)

    def row(self, fixed_images: int, executed_images: int) -> dict[str, Any]:
        self.prepare()
        labels = self.bench.dataset.test_labels[:fixed_images].numpy()
        floats = self.logits("float", self.floats, fixed_images, FIXED_PART)
        fixed = self.logits(f"fixed-{self.protocol}-{self.ring}", self.fixed, fixed_images, FIXED_PART)
        executed = self.logits(f"parties-{self.protocol}-{self.ring}", self.two_parties, executed_images, EXECUTED_PART)
        in_fixed = compare_logits(floats, fixed)
        by_parties = compare_logits(floats[:executed_images], executed)
        return {
            "key": self.run.key,
            "protocol": self.protocol,
            "ring": self.ring,
            "images": fixed_images,
            "float_accuracy": float((floats.argmax(1) == labels).mean()),
            "fixed_point_accuracy": float((fixed.argmax(1) == labels).mean()),
            "fixed_point_same_class": in_fixed.same_class,
            "fixed_point_worst_difference": in_fixed.worst_difference,
            "executed_images": executed_images,
            "executed_same_class": by_parties.same_class,
            "executed_worst_difference": by_parties.worst_difference,
            "executed_other_classes": np.flatnonzero(executed.argmax(1) != floats[:executed_images].argmax(1)).tolist(),
        }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown; accuracies in %, the gap in points."""
    lines = [
        "| network | protocol | ring | images | float | fixed point | gap | executed | same class as onnxruntime |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        before, after = 100 * row["float_accuracy"], 100 * row["fixed_point_accuracy"]
        same = round(row["executed_same_class"] * row["executed_images"])
        lines.append(
            f"| {row['key']} | {row['protocol']} | {row['ring']} | {row['images']:,} | {before:.2f} | {after:.2f} | "
            f"{before - after:.2f} | {row['executed_images']:,} | {same:,} |"
        )
    return "\n".join(lines)


def merged(path: Path, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of a file with one of them anew."""
    kept = json.loads(path.read_text()) if path.exists() else []
    return [other for other in kept if any(other[name] != row[name] for name in ("key", "protocol", "ring"))] + [row]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.show:
        print(table(json.loads(options.show.read_text())))
        return
    torch.set_num_threads(1)
    found = {run.key: run for run in plan()}
    data = DataOptions("folder", root=str(options.images), cache_dir=str(options.cache / "images"))
    bench = Bench(options.cache, load_dataset(data))
    for key in options.keys:
        if key not in found or read_row(options.cache, found[key]) is None:
            raise SystemExit(f"{key} is no finished run: `accuracy.py list --cache {options.cache}` names them")
        row = Executed(bench, found[key], options.protocol, options.ring).row(options.fixed, options.executed)
        print(table([row]))
        if options.output:
            write_whole_json(options.output, merged(options.output, row))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="*", metavar="KEY", help="finished runs of accuracy.py")
    parser.add_argument("--images", type=Path, help="train/CLASS/* and test/CLASS/*")
    parser.add_argument("--cache", type=Path, help="of accuracy.py")
    parser.add_argument("--protocol", default="beaver-ot")
    parser.add_argument("--ring", default="32", help="as of `rrnet-2pc-compile`")
    parser.add_argument("--fixed", type=int, default=10_000, help="images in fixed point")
    parser.add_argument("--executed", type=int, default=1_000, help="images between two parties")
    parser.add_argument("--show", type=Path, metavar="ROWS", help="print a file of rows")
    parser.add_argument("-o", "--output", type=Path, help="where rows are kept; other networks' stay")
    options = parser.parse_args(arguments)
    if not options.show and not (options.keys and options.images and options.cache):
        parser.error("give keys, --images and --cache, or --show")
    return options


if __name__ == "__main__":
    main()
