"""Is the search worth its time? Beside every network that it found, random networks of the same latency, trained alike.

    python benchmarks/search/front_controls.py DIR --task examples/cifar10_quarter_front.yml [--images FOLDER] [-o FILE]
        [--figure FILE.png]

DIR is what `front_experiment.py --directory DIR` was given. For every distinct network of the trials, those too that
another trial beats, two others of the space are drawn whose latency is within 5 %, trained as the trials train theirs
(same task, teacher and seed), and judged on the same images. DIR/controls keeps every finished one: the same command
goes on from there, and several processes may share the work.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accuracy import claimed

from rrnet_nni.architecture import Architecture
from rrnet_nni.base.figures import figure_canvas, save_figure
from rrnet_nni.base.files import write_whole_json
from rrnet_nni.evaluators.accuracy import evaluate
from rrnet_nni.pipeline import ARCHITECTURE, WEIGHTS, describe, teacher_of, train_architecture
from rrnet_nni.trained import load_trained
from rrnet_nni.workbench import Workbench, prepare

Choices = dict[str, str]

CONTROLS = 2
TOLERANCE = 0.05
#: Draws before a latency counts as one that no other network has.
MOST_DRAWS = 20_000


def drawn(bench: Workbench, near: Architecture, count: int = CONTROLS, tolerance: float = TOLERANCE) -> list[Choices]:
    """Choices of distinct networks, none of them `near`, whose latency is its own within `tolerance`.

    How many gates take their slower candidate is drawn first, so that both ends of the space are met as often as its
    middle. The same network gives the same draws; there are fewer than `count` where so many were not found.
    """
    assert near.latency_ms is not None
    chance = random.Random(f"{near.latency_ms:.4f}")
    entries = bench.table.entries
    ordered = {label: sorted(costs, key=lambda name: costs[name].latency_ms) for label, costs in entries.items()}
    found: list[Choices] = []
    for _ in range(MOST_DRAWS):
        if len(found) == count:
            break
        share = chance.random()
        choices = {label: names[-1] if chance.random() < share else names[0] for label, names in ordered.items()}
        apart = abs(bench.table.latency_ms(choices) / near.latency_ms - 1)
        if apart <= tolerance and choices != dict(near.choices) and choices not in found:
            found.append(choices)
    return found


def searched(folder: Path) -> list[tuple[Architecture, Path]]:
    """The distinct networks of all trials, those off the front too, fastest first."""
    distinct: dict[str, tuple[Architecture, Path]] = {}
    for result in sorted(folder.glob("runs/[!_]*/environments/*/trials/*/result.json")):
        architecture = Architecture.load(result.parent / ARCHITECTURE)
        distinct.setdefault(json.dumps(dict(architecture.choices), sort_keys=True), (architecture, result.parent))
    return sorted(distinct.values(), key=lambda one: one[0].latency_ms or 0.0)


class Controls:
    """The controls of one front, each in its own folder under `folder`."""

    def __init__(self, bench: Workbench, folder: Path) -> None:
        self.bench, self.folder = bench, folder

    def finished(self, architecture: Architecture, number: int) -> dict[str, Any] | None:
        """The row of control `number` of one network; trained now where nobody has. None while another process does."""
        folder = self.folder / f"{architecture.latency_ms:.4f}ms-{number}"
        path = folder / "row.json"
        if not path.exists():
            with claimed(folder) as mine:
                if not mine:
                    return None
                write_whole_json(path, self._trained(architecture, number, folder))
        row: dict[str, Any] = json.loads(path.read_text())
        return row

    def _trained(self, architecture: Architecture, number: int, folder: Path) -> dict[str, Any]:
        found = drawn(self.bench, architecture)
        if number >= len(found):
            return {"latency_ms": None}
        choices = found[number]
        control = describe(self.bench, choices)
        lesson = teacher_of(self.bench)
        _, validation, test = train_architecture(
            self.bench, control, folder, lambda step: print(folder.name, step, flush=True), **lesson
        )
        return {
            "latency_ms": control.latency_ms,
            "relus": control.relus,
            "validation_accuracy": validation.accuracy,
            "accuracy": test.accuracy,
            "exploded_images": test.exploded,
            "choices": choices,
        }


def compared(bench: Workbench, folder: Path) -> list[dict[str, Any]]:
    """Every network that was found beside its controls, so far as they are finished."""
    controls = Controls(bench, folder / "controls")
    rows = []
    for architecture, trial in searched(folder):
        others = [controls.finished(architecture, number) for number in range(CONTROLS)]
        test = evaluate(load_trained(architecture, trial / WEIGHTS), bench.dataset)
        rows.append(
            {
                "latency_weight": architecture.latency_weight,
                "latency_ms": architecture.latency_ms,
                "relus": architecture.relus,
                "accuracy": test.accuracy,
                "exploded_images": test.exploded,
                "seed": bench.task.seed,
                "choices": dict(architecture.choices),
                "controls": [other for other in others if other is not None and other["latency_ms"] is not None],
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The networks beside their controls as Markdown; a point is won where it is above the mean of its controls."""
    lines = ["| latency, ms | ReLUs | searched | random, same latency | won |", "| --- | --- | --- | --- | --- |"]
    won, compared = 0, sum(bool(row["controls"]) for row in rows)
    for row in rows:
        others = [control["accuracy"] for control in row["controls"]]
        above = bool(others) and row["accuracy"] > statistics.mean(others)
        won += above
        shown = " / ".join(f"{100 * other:.2f}" for other in others) or "–"
        mark = "yes" if above else "no" if others else "–"
        lines.append(f"| {row['latency_ms']:.3f} | {row['relus']:,} | {100 * row['accuracy']:.2f} | {shown} | {mark} |")
    return "\n".join([*lines, "", f"Above the mean of its controls on {won} of {compared} points that have some."])


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Test accuracy of the networks and of their controls against latency, and against ReLUs."""
    figure, (axes,) = figure_canvas(2)
    for axis, quantity, label in zip(axes, ("latency_ms", "relus"), ("2PC latency, ms", "ReLUs"), strict=True):
        for networks, mark, name in ((rows, "o-", "searched"), (controls_of(rows), "x", "random")):
            ordered = sorted(networks, key=lambda network: float(network[quantity]))
            accuracies = [100 * network["accuracy"] for network in ordered]
            axis.plot([network[quantity] for network in ordered], accuracies, mark, label=name)
        axis.set(xlabel=label, ylabel="test accuracy, %")
    axes[0].legend()
    save_figure(figure, path)


def controls_of(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [control for row in rows for control in row["controls"]]


def main(arguments: Sequence[str] | None = None) -> None:
    from rrnet_nni.cli.options import read_task

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="of the experiment")
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="train/CLASS/*, test/CLASS/* in place of the task's dataset")
    parser.add_argument("--seed", type=int, help="of the task, where the trials were given one")
    parser.add_argument("--figure", type=Path, help="draw the networks beside their controls")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = compared(prepare(read_task(options)), options.directory)
    if options.output:
        write_whole_json(options.output, {"points": rows})
    if options.figure:
        draw(rows, options.figure)
    print(table(rows))


if __name__ == "__main__":
    main()
