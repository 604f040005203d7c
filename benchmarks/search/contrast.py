"""How far a network is from exploding: held-out images of raised contrast, with and without a bound on it.

    python benchmarks/search/contrast.py held-out/x2act held-out/teacher --images FOLDER --cache DIR -o FILE.json
    python benchmarks/search/contrast.py --show docs/results/contrast.json

DIR is the cache of `accuracy.py`, whose finished runs on held-out images are named by their keys. Contrast is
raised by spreading an image's pixels around their mean; bounds are multiples of the deviation of all training images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accuracy import WEIGHTS, Bench, read_row
from accuracy_plan import Run, plan
from torch import Tensor

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.accuracy import evaluate
from rrnet_nni.evaluators.images.data import DataOptions, load_dataset

RAISED = (1.0, 1.3, 1.6)
BOUNDS = (None, 1.4, 1.2, 1.0, 0.8)


def raised(images: Tensor, factor: float) -> Tensor:
    """Images uint8 [N, C, H, W] as float32, each spread around its own mean; values may leave 0..255."""
    values = images.float()
    return torch.lerp(values.mean((1, 2, 3), keepdim=True), values, factor)


def rows(bench: Bench, run: Run) -> Iterator[dict[str, Any]]:
    """One row for every contrast and bound; of more contrast half of the images are taken."""
    dataset = bench.choosing
    network = bench.network(run, dataset)
    network.load_state_dict(torch.load(bench.cache / run.key / WEIGHTS, weights_only=True))
    network.to(memory_format=torch.channels_last)
    deviation = sum(dataset.std) / len(dataset.std)
    for factor in RAISED:
        count = len(dataset.test_labels) // (1 if factor == 1 else 2)
        images, labels = raised(dataset.test_images[:count], factor), dataset.test_labels[:count]
        for bound in BOUNDS:
            bounded = replace(dataset, contrast_bound=None if bound is None else bound * deviation)
            found = evaluate(network, bounded, images, labels)
            row = {"key": run.key, "kind": run.kind, "contrast": factor, "bound": bound, "images": found.images}
            yield row | {"accuracy": found.accuracy, "exploded_images": found.exploded}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a line for every bound, and columns for every network and contrast."""
    keys = list(dict.fromkeys(row["key"] for row in rows))
    heads = [f"{key.split('/')[-1]}, contrast {factor}" for key in keys for factor in RAISED]
    lines = [f"| bound | {' | '.join(heads)} |", "| --- " * (len(heads) + 1) + "|"]
    found = {(row["key"], row["contrast"], row["bound"]): row for row in rows}
    for bound in BOUNDS:
        cells = [_cell(found[key, factor, bound]) for key in keys for factor in RAISED]
        lines.append(f"| {'none' if bound is None else bound} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any]) -> str:
    exploded = f", {row['exploded_images']} exploded" if row["kind"] == "x2act" else ""
    return f"{100 * row['accuracy']:.2f} %{exploded}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="*", help="finished runs of accuracy.py on held-out images")
    parser.add_argument("--images", type=Path, help="train/CLASS/* and test/CLASS/*")
    parser.add_argument("--cache", type=Path, help="of accuracy.py")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of such a file")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    if options.show is not None:
        print(table(json.loads(options.show.read_text())["rows"]))
        return
    if options.images is None or options.cache is None:
        parser.error("give --images and --cache, or --show FILE")
    runs = {run.key: run for run in plan() if run.held_out and read_row(options.cache, run) is not None}
    if unknown := [key for key in options.keys if key not in runs]:
        parser.error(f"{unknown[0]} is no finished run on held-out images; there are {', '.join(runs)}")
    torch.set_num_threads(1)
    data = DataOptions("folder", root=str(options.images), cache_dir=str(options.cache / "images"))
    bench, found = Bench(options.cache, load_dataset(data)), []
    for key in options.keys:
        found += list(rows(bench, runs[key]))
    if options.output is not None:
        write_whole_json(options.output, {"rows": found})
    print(table(found))


if __name__ == "__main__":
    main()
