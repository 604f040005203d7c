"""Figures of the cost model; needs matplotlib, which comes with the extra `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrnet_nni.base.errors import Refusal

from .sweep import BOTTLENECK_SPEED_UP, Sweep

#: Contours of the speed-up.
SPEED_UPS = (1.2, 1.5, 2, 3, 5, 10, 20, 50)


def figure_canvas(columns: int, width: float = 4.2, height: float = 3.8, rows: int = 1) -> tuple[Any, Any]:
    """A figure of `rows` x `columns` axes [rows, columns] that needs no display.

    Raises:
        Refusal: matplotlib is not installed; names the extra to install.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Refusal(
            "figures need matplotlib, which is not installed: pip install 'rrnet-nni[figures]' (or leave the file away)"
        ) from error
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


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


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format that its suffix names; same input, same bytes.

    Raises:
        Refusal: the file cannot be written, or its suffix is no format or missing.
    """
    if not path.suffix:
        raise Refusal(f"{path}: the figure cannot be written (its suffix names the format, as in {path}.png)")
    try:
        figure.savefig(path, dpi=120, metadata={"Software": None} if path.suffix == ".png" else None)
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: the figure cannot be written ({error})") from error
