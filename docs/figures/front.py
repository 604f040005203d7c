"""The figure of ParetoTuner's front in docs/results/search.md.

    python docs/figures/front.py [directory]

Draws docs/results/front_cifar10_jpeg.json, which benchmarks/search/front_experiment.py
writes. Needs the extra `figures`.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from rrnet_nni.base.figures import figure_canvas, save_figure

RESULTS = Path(__file__).parents[1] / "results" / "front_cifar10_jpeg.json"


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    report = json.loads(RESULTS.read_text())
    trials = sorted(
        (trial for trial in report["trials"] if "latency_ms" in trial), key=lambda trial: trial["latency_ms"]
    )
    held_out = round(report["task"]["data"]["train_images"] * report["task"]["validation_fraction"])
    figure, axes = figure_canvas(1, width=6.4, height=3.8)
    axis = axes[0][0]
    front = [trial for trial in trials if trial["on_front"]]
    axis.step(
        [trial["latency_ms"] for trial in front],
        [100 * trial["validation_accuracy"] for trial in front],
        where="post",
        color="tab:blue",
        linewidth=1.0,
    )
    for marks, label, colour in (
        (front, "on the front", "tab:blue"),
        ([trial for trial in trials if not trial["on_front"]], "dominated", "tab:gray"),
    ):
        accuracies = [trial["validation_accuracy"] for trial in marks]
        axis.errorbar(
            [trial["latency_ms"] for trial in marks],
            [100 * accuracy for accuracy in accuracies],
            yerr=[100 * math.sqrt(accuracy * (1 - accuracy) / held_out) for accuracy in accuracies],
            fmt="o",
            color=colour,
            elinewidth=0.7,
            label=f"{label}, validation",
        )
    axis.plot(
        [trial["latency_ms"] for trial in trials],
        [100 * trial["accuracy"] for trial in trials],
        "x",
        color="tab:orange",
        label="test",
    )
    axis.set(
        xlabel="2PC latency, ms", ylabel="accuracy, %", title="CIFAR-10 (JPEG), ResNet-18 at width 1/8, one trial per λ"
    )
    axis.legend(fontsize=8)
    save_figure(figure, directory / "front_cifar10.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
