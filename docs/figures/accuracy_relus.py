"""Accuracy against ReLUs: our networks beside published ones.

    python docs/figures/accuracy_relus.py [directory]

Ours are docs/results/accuracy.json (benchmarks/search/accuracy.py), on recompressed CIFAR-10. The published ones are
on the original images, of other networks and schedules: they say where the field stands, not who is better. Those of
SNL, DeepReDuce and CryptoNAS are read off plotting scripts that transcribe their curves; AutoReP's are from its
abstract and its authors' notes.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rrnet_nni.base.figures import figure_canvas, save_figure
from rrnet_nni.base.tables import markdown_table
from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.fpga.program.operators import relu_count
from rrnet_nni.search_spaces import SpaceOptions, fixed_choices

RESULTS = Path(__file__).parents[1] / "results" / "accuracy.json"
#: Method -> (thousands of ReLUs, accuracy in %).
PUBLISHED = {
    "RRNet": ((0, 93.4),),
    "SNL": ((12.9, 88.23), (15, 88.43), (25, 90.88), (50, 92.27), (100, 93.50)),
    "DeepReDuce": ((36, 88.5), (114, 92.7), (221, 94.07)),
    "CryptoNAS": ((50, 90.0), (100, 92.2)),
    "AutoReP": ((9.4, 93.58), (12.9, 94.31), (19.8, 95.03), (50, 94.44), (94.2, 93.69)),
}
KINDS = {"relu": ("relu", "maxpool"), "relu+avgpool": ("relu", "avgpool"), "x2act": ("x2act", "avgpool")}


def relus(backbone: str, width: float, kind: str) -> int:
    """ReLUs of one image."""
    space = SpaceOptions(width=width)
    operators, choices = describe_space(backbone, space), fixed_choices(backbone, space, *KINDS[kind])
    return sum(relu_count(operators.choices[label][chosen]) for label, chosen in choices.items())


def groups(runs: Iterable[Mapping[str, Any]]) -> dict[tuple[str, float, str], list[float]]:
    """Backbone, width and kind -> test accuracies in %, a seed each: of its settled network where there is one."""
    found: dict[tuple[str, float, str], dict[int, float]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: bool(run["training"].get("settling_epochs"))):
        if run["start"] is not None and run["judged_on"] == "test images":
            found[run["backbone"], run["width"], run["kind"]][run["seed"]] = 100 * run["accuracy"]
    return {network: list(accuracies.values()) for network, accuracies in found.items()}


def table(runs: Iterable[Mapping[str, Any]]) -> str:
    """Ours and the published points by their ReLUs."""
    rows = []
    for (backbone, width, kind), accuracies in groups(runs).items():
        seeds = f"measured, CIFAR-10 (JPEG), mean of {len(accuracies)} seed{'s' if len(accuracies) > 1 else ''}"
        name = f"{backbone}, width {width:g}, {kind}"
        rows.append((relus(backbone, width, kind) / 1000, name, statistics.mean(accuracies), seeds))
    for method, points in PUBLISHED.items():
        rows += [(thousands, method, accuracy, "published, original images") for thousands, accuracy in points]
    return markdown_table(
        ("thousands of ReLUs", "network or method", "accuracy, %", "known by"),
        ([f"{relus:.4g}", name, f"{accuracy:.2f}", known] for relus, name, accuracy, known in sorted(rows)),
    )


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    ours = groups(json.loads(RESULTS.read_text())["runs"])
    figure, ((axis,),) = figure_canvas(1, width=6.4, height=4.2)
    for method, points in PUBLISHED.items():
        axis.plot(*zip(*points, strict=True), "--", marker=".", linewidth=0.7, label=f"{method} (published)")
    for network in dict.fromkeys((backbone, width) for backbone, width, _ in ours):
        points = sorted(
            (relus(*network, kind) / 1000, statistics.mean(accuracies))
            for (*of, kind), accuracies in ours.items()
            if tuple(of) == network
        )
        axis.plot(*zip(*points, strict=True), marker="s", markersize=4, label=f"{network[0]}, width {network[1]:g}")
    axis.set_xscale("symlog", linthresh=10)
    axis.set(
        xlabel="thousands of ReLUs",
        ylabel="test accuracy, %",
        title="squares: ours, CIFAR-10 (JPEG), 10 + 10 epochs\ndots: published, on the original images",
    )
    axis.title.set_fontsize(9)
    axis.legend(fontsize=7, loc="center", bbox_to_anchor=(0.22, 0.55))
    save_figure(figure, directory / "accuracy_relus.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
