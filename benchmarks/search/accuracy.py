"""How accurate all-polynomial networks are beside all-ReLU ones: a queue of trainings that goes on where it stopped.

    python benchmarks/search/accuracy.py run --images FOLDER --cache DIR [--only PREFIX] -o docs/results/accuracy.json
    python benchmarks/search/accuracy.py list --cache DIR
    python benchmarks/search/accuracy.py table docs/results/accuracy.json

Each run has a key, and under it a folder in DIR with a checkpoint after every epoch, its weights and its row. Several
processes may `run` at the same time on one cache: each takes the first run that nobody works at and whose teacher is
there. The runs `held-out/*` train on all but 5,000 of the training images and are judged on those; the others are
judged on the test images, once.

A network is fine-tuned from its seed's all-ReLU network with that as teacher. The control, all-ReLU with MaxPool, is
fine-tuned alike, so that a gap compares equal numbers of epochs with the same teacher.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accuracy_plan import HELD_OUT, KINDS, Run, plan

from rrnet_nni.base.files import whole_file, write_whole_json
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, holdout, load_dataset
from rrnet_nni.evaluators.teaching.initial_weights import load_initial_weights
from rrnet_nni.evaluators.training import train_network
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices

ROW, WEIGHTS = "row.json", "weights.pt"
#: Seconds between two looks for a run that can be worked at.
PAUSE_S = 10


class Bench:
    """The images and the folder of finished runs."""

    def __init__(self, cache: Path, dataset: ImageDataset, held_out: int = HELD_OUT) -> None:
        self.cache, self.dataset = cache, dataset
        remaining, (images, labels) = holdout(self.dataset, held_out / len(self.dataset.train_labels), seed=0)
        self.choosing = replace(remaining, test_images=images, test_labels=labels)

    def train(self, run: Run) -> dict[str, Any]:
        """Train, or go on with, one run, and write its row."""
        folder = self.cache / run.key
        dataset = self.choosing if run.held_out else self.dataset
        torch.manual_seed(run.seed)
        network, teacher = self.network(run, dataset), None
        if run.start is not None:
            origin = torch.load(self.cache / run.start / WEIGHTS, weights_only=True)
            load_initial_weights(network, origin)
            teacher = self.network(replace(run, kind="relu", choices=None), dataset)
            teacher.load_state_dict(origin)
        result = train_network(
            network,
            dataset,
            run.options(),
            teacher=teacher,
            checkpoint_dir=folder,
            progress=lambda step: print(run.key, step, flush=True),
        )
        with whole_file(folder / WEIGHTS) as unfinished:
            torch.save(network.state_dict(), unfinished)
        row = {
            **asdict(run),
            "accuracy": result.accuracy,
            "judged_on": "held-out training images" if run.held_out else "test images",
            "images": result.test.images,
            "exploded_images": result.test.exploded,
            "contrast_bound": dataset.contrast_bound,
            "skipped_steps": result.skipped_steps,
            "fallbacks": len(result.fallbacks),
            "last_epoch_loss": result.loss,
            "seconds_since_resumed": round(result.seconds, 1),
            "options": asdict(run.options()),
        }
        write_whole_json(folder / ROW, row)
        print(run.key, f"{100 * result.accuracy:.2f} %, {result.test.exploded} exploded", flush=True)
        return row

    def network(self, run: Run, dataset: ImageDataset) -> torch.nn.Module:
        space = space_of(dataset, run.width)
        choices = run.choices or fixed_choices(run.backbone, space, *KINDS[run.kind])
        return build_network(run.backbone, space, choices)


def space_of(dataset: ImageDataset, width: float) -> SpaceOptions:
    return SpaceOptions(classes=dataset.classes, image_size=dataset.image_size, channels=dataset.channels, width=width)


def work(bench: Any, runs: Sequence[Any], output: Path | None) -> None:
    """Train every run of the queue that no other process trains, and wait for what another one trains before.

    Returns when every run is finished or in other hands.

    Args:
        bench: a `Bench`, or what has its `cache` and `train`, which gives None while another process is in the way.
        runs: `Run`s, or other dataclasses with `key` and `after`.
        output: a file for all finished rows.
    """
    while True:
        waiting = False
        for run in runs:
            if read_row(bench.cache, run) is not None:
                continue
            if run.after is not None and not (bench.cache / run.after / ROW).exists():
                if run.after not in (other.key for other in runs):
                    raise SystemExit(f"{run.key} comes after {run.after}, which is not trained: let --only take both")
                waiting = True
                continue
            with claimed(bench.cache / run.key) as mine:
                if not mine or read_row(bench.cache, run) is not None:
                    continue
                if bench.train(run) is None:
                    waiting = True
                    continue
                report(bench.cache, runs, output)
                break
        else:
            if not waiting:
                return
            time.sleep(PAUSE_S)


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether the folder of a run is ours until the end; the system gives it back when a process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def read_row(cache: Path, run: Any) -> dict[str, Any] | None:
    """The row of a finished run; one of other settings under its key ends the program."""
    path = cache / run.key / ROW
    if not path.exists():
        return None
    row: dict[str, Any] = json.loads(path.read_text())
    for name, value in asdict(run).items():
        if row.get(name) != value:
            raise SystemExit(f"{path} is of {name} {row.get(name)!r}, not {value!r}: move it away to train again")
    return row


def finished(cache: Path, runs: Iterable[Any]) -> list[dict[str, Any]]:
    return [row for row in (read_row(cache, run) for run in runs) if row is not None]


def report(cache: Path, runs: Iterable[Any], output: Path | None) -> None:
    """Write all finished rows to `output`; what it has of other runs stays."""
    if output is None:
        return
    runs = list(runs)
    keys = {run.key for run in runs}
    there = json.loads(output.read_text())["runs"] if output.exists() else []
    write_whole_json(output, {"runs": [row for row in there if row["key"] not in keys] + finished(cache, runs)})


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The finished families as a table in Markdown: accuracies in %, gaps in points against the control."""
    lines = [
        "| network | seeds | ReLU + MaxPool | ReLU + AvgPool | X2act + AvgPool | gap | exploded images |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    tuned = [row for row in rows if row["start"] is not None and row["judged_on"] == "test images"]
    for name, settled in dict.fromkeys((row["key"].split("/")[0], _settled(row)) for row in tuned):
        mine = [row for row in tuned if row["key"].split("/")[0] == name]
        mine = [row for row in mine if row["kind"] != "x2act" or _settled(row) == settled]
        found = {kind: {row["seed"]: row for row in mine if row["kind"] == kind} for kind in KINDS}
        seeds = sorted(set(found["relu"]) & set(found["x2act"]))
        if not seeds:
            continue
        gaps = [100 * (found["relu"][seed]["accuracy"] - found["x2act"][seed]["accuracy"]) for seed in seeds]
        cells = [_accuracies(found[kind], seeds) for kind in KINDS]
        exploded = sum(row["exploded_images"] for row in mine)
        first = mine[0]
        title = f"{first['backbone']}, width {first['width']:g}, {first['epochs']} + {first['epochs']} epochs"
        title += ", the last settled" if settled else ""
        shown = ", ".join(map(str, seeds))
        lines.append(f"| {title} | {shown} | {' | '.join(cells)} | {statistics.mean(gaps):.2f} | {exploded} |")
    return "\n".join(lines)


def _settled(row: Mapping[str, Any]) -> bool:
    return bool(row["training"].get("settling_epochs"))


def _accuracies(rows: Mapping[int, Mapping[str, Any]], seeds: Sequence[int]) -> str:
    each = [f"{100 * rows[seed]['accuracy']:.2f}" for seed in seeds if seed in rows]
    return " / ".join(each) or "–"


def main(arguments: Sequence[str] | None = None) -> None:
    run_queue(arguments, __doc__, plan(), lambda bench: bench, table, lambda row: f"{row['exploded_images']} exploded")


def run_queue(
    arguments: Sequence[str] | None,
    description: str | None,
    queue: Iterable[Any],
    bench_of: Callable[[Bench], Any],
    table: Callable[[Sequence[Mapping[str, Any]]], str],
    detail: Callable[[Mapping[str, Any]], str],
) -> None:
    """The commands `run`, `list` and `table` of a queue; `detail` says of a row what stands beside its accuracy."""
    options = parse(arguments, description)
    if options.command == "table":
        print(table(json.loads(options.rows.read_text())["runs"]))
        return
    runs = [run for run in queue if run.key.startswith(options.only)]
    if options.command == "list":
        for run in runs:
            row = read_row(options.cache, run)
            print(
                f"{run.key:50} {100 * row['accuracy']:6.2f} %  {detail(row)}" if row else f"{run.key:50} not finished"
            )
        report(options.cache, runs, options.output)
        return
    torch.set_num_threads(1)
    data = DataOptions("folder", root=str(options.images), cache_dir=str(options.cache / "images"))
    work(bench_of(Bench(options.cache, load_dataset(data).to(options.device))), runs, options.output)


def parse(arguments: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "list"):
        command = commands.add_parser(name)
        command.add_argument("--cache", type=Path, required=True, help="where checkpoints and rows are kept")
        command.add_argument("--only", default="", metavar="PREFIX", help="runs whose key begins so")
        command.add_argument("-o", "--output", type=Path, help="a file for all finished rows")
        if name == "run":
            command.add_argument("--images", type=Path, required=True, help="train/CLASS/* and test/CLASS/*")
            command.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="what trains (default: cpu)")
    commands.add_parser("table").add_argument("rows", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
