"""Figures of the cost model; needs matplotlib, which comes with the extra `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Refusal
from .sweep import BOTTLENECK_SHARE, Sweep


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
    """One map per protocol: share of comparison in colour, its bottleneck line and the speed-up as contours."""
    figure, axes = figure_canvas(len(sweeps))
    for axis, result in zip(axes[0], sweeps, strict=True):
        x, y = result.bandwidths_bytes_per_s, result.round_trips_s
        colours = axis.pcolormesh(x, y, result.comparison_share, vmin=0, vmax=1, cmap="viridis", shading="nearest")
        if result.comparison_share.min() < BOTTLENECK_SHARE < result.comparison_share.max():
            axis.contour(x, y, result.comparison_share, levels=[BOTTLENECK_SHARE], colors="white", linewidths=2)
        lines = axis.contour(x, y, result.speed_up, levels=[1.5, 2, 3, 5, 10, 20, 50], colors="black", linewidths=0.7)
        axis.clabel(lines, fmt="%gx", fontsize=7)
        axis.set(xscale="log", yscale="log", title=result.protocol, xlabel="bandwidth, B/s", ylabel="round trip, s")
    figure.colorbar(colours, ax=list(axes[0]), label="share of comparison in the latency")
    figure.suptitle(f"{title}: white, comparison is half of the latency; black, speed-up of all-polynomial", fontsize=9)
    save_figure(figure, path)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format that its suffix names; same input, same bytes.

    Raises:
        Refusal: the file cannot be written or the suffix is no format.
    """
    try:
        figure.savefig(path, dpi=120, metadata={"Software": None} if path.suffix == ".png" else None)
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: the figure cannot be written ({error})") from error
