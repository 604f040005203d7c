"""The figures of docs/results/paper-latencies.md and replacing-relu.md.

    python docs/figures/performance_model.py [directory]

Needs the extra `figures`. Writes PNG files; same package versions, same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rrnet_nni.base.figures import figure_canvas, save_figure
from rrnet_nni.cli.paper_table import paper_operators, paper_rows
from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.cost.sweep import sweep
from rrnet_nni.fpga.cost.sweep_map import draw_sweeps
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols import get_costs

DEVICE = load_device("zcu104")
MAPPED = ("paper", "beaver-ot-extension", "beaver-ot", "masked")


def draw_paper(path: Path) -> None:
    """The ten latencies of Fig. 3(b) and the model's, logarithmic."""
    rows = paper_rows(DEVICE, get_costs("paper"))
    figure, axes = figure_canvas(1, width=8.0)
    axis = axes[0][0]
    for offset, key, label in ((-0.2, "paper_ms", "paper"), (0.2, "model_ms", "model")):
        axis.bar([index + offset for index in range(len(rows))], [row[key] for row in rows], width=0.4, label=label)
    for index, row in enumerate(rows):
        axis.text(index, 1.1 * max(row["paper_ms"], row["model_ms"]), f"{row['error']:+.1%}", ha="center", fontsize=8)
    names = [f"{row['network']}\n{row['choice']}" for row in rows]
    axis.set_xticks(range(len(rows)), names, fontsize=7)
    axis.set(yscale="log", ylabel="latency, ms", ylim=(5, 4000), title="Fig. 3(b), two ZCU104 at 1 GB/s")
    axis.legend()
    save_figure(figure, path)


def draw_parts(path: Path) -> None:
    """Where the time of ResNet-18 goes under every mapped protocol."""
    figure, axes = figure_canvas(2, width=4.5, height=3.2)
    for axis, activation in zip(axes[0], ("relu", "x2act")):
        operators = paper_operators("resnet18", activation)
        totals = [network_cost(operators, DEVICE, get_costs(name)).total for name in MAPPED]
        left = [0.0] * len(totals)
        for part in ("compute_ms", "transfer_ms", "message_ms"):
            widths = [getattr(total, part) for total in totals]
            axis.barh(MAPPED, widths, left=left, label=part.removesuffix("_ms"))
            left = [start + width for start, width in zip(left, widths)]
        axis.invert_yaxis()
        axis.set(xlabel="latency, ms", title=f"ResNet-18, all-{activation}")
    axes[0][0].legend(loc="lower right")
    save_figure(figure, path)


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    draw_paper(directory / "paper_latencies.png")
    draw_parts(directory / "latency_parts.png")
    operators = paper_operators("resnet18", "relu")
    maps = [sweep(operators, DEVICE, get_costs(name)) for name in MAPPED]
    draw_sweeps(maps, "ResNet-18 on two ZCU104", directory / "bottleneck_map.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
