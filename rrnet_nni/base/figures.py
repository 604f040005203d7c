"""Figures by matplotlib: as files, and as SVG inside of a page whose colours they take."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from .errors import Refusal

#: Stand for the colours of `page.css`, which `inline_svg` puts in their place: a figure is dark on a dark page.
INK, QUIET, LINE, ACCENT = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {INK: "ink", QUIET: "quiet", LINE: "line", ACCENT: "accent"}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rrnet",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def figure_canvas(columns: int, width: float = 4.2, height: float = 3.8, rows: int = 1) -> tuple[Any, Any]:
    """A figure of `rows` x `columns` axes [rows, columns], each of so many inches, that needs no display.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; commands say what to install.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


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


def inline_svg(name: str, description: str, height: float, draw: Callable[[Any, Any], None]) -> str:
    """What `draw(figure, axis)` draws, as an <svg> element of a page: as wide as there is room, text stays text.

    Args:
        name: a word that no other figure of the page has; ids inside begin with it.
        description: what a reader who does not see it is told.
        height: inches at a width of 5.4.
    """
    import matplotlib

    written = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure, ((axis,),) = figure_canvas(1, width=5.4, height=height)
        draw(figure, axis)
        absent = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=absent)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'((?:id|href)="#?|url\(#)', rf"\g<1>{name}-", svg).replace(f'href="{name}-data:', 'href="data:')
    svg = re.sub(r"font-family: [^;]*; ?", "", svg)  # the page's own
    head = f'<svg role="img" aria-label="{escape(description)}" viewBox='
    return re.sub(r"<svg [^>]*?viewBox=", lambda found: head, svg, count=1).replace(' version="1.1">', ">", 1)
