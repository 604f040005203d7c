"""The map of a sweep as a figure; needs matplotlib, which comes with the extra `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rrnet_nni.base.figures import figure_canvas, save_figure

from .sweep import BOTTLENECK_SPEED_UP, Sweep

#: Contours of the speed-up.
SPEED_UPS = (1.2, 1.5, 2, 3, 5, 10, 20, 50)


def draw_sweeps(sweeps: Sequence[Sweep], title: str, path: Path) -> None:
    """One map per protocol: share saved in colour, the speed-up as contours."""
    columns = min(len(sweeps), 4)
    rows = -(-len(sweeps) // columns)
    figure, axes = figure_canvas(columns, rows=rows)
    flat = [axis for row in axes for axis in row]
    for axis, result in zip(flat, sweeps):
        x, y = result.bandwidths_bytes_per_s, result.round_trips_s
        colours = axis.pcolormesh(x, y, result.saved_share, vmin=0, vmax=1, cmap="viridis", shading="nearest")
        if result.speed_up.min() < BOTTLENECK_SPEED_UP < result.speed_up.max():
            axis.contour(x, y, result.speed_up, levels=[BOTTLENECK_SPEED_UP], colors="white", linewidths=2.5)
        levels = [level for level in SPEED_UPS if result.speed_up.min() < level < result.speed_up.max()]
        if levels:
            lines = axis.contour(x, y, result.speed_up, levels=levels, colors="black", linewidths=0.7)
            axis.clabel(lines, fmt="%gx", fontsize=7)
        axis.set(xscale="log", yscale="log", title=result.protocol, xlabel="bandwidth, B/s", ylabel="round trip, s")
    for axis in flat[len(sweeps) :]:
        axis.set_axis_off()
    figure.colorbar(colours, ax=flat, label="share of the latency saved")
    figure.suptitle(f"{title}: speed-up by replacing every ReLU and MaxPool; white, it halves the latency", fontsize=9)
    save_figure(figure, path)
