"""Tables: as plain text for what is printed, as Markdown for pages, as rich ones for what is watched on a screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Aligned text; the first `left` columns are words, the others figures."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    aligned = (
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    return "\n".join(aligned) + "\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of a Markdown page."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def watched_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 0, caption: str | None = None
) -> Table:
    """A table for a terminal that redraws it; the first `left` columns are words, the others figures."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, caption=caption, title_justify="left")
    for column, head in enumerate(header):
        longest = max(map(len, head.split()), default=0)  # a narrow terminal breaks heads between words, never inside
        table.add_column(escape(head), justify="left" if column < left else "right", min_width=longest)
    for row in rows:
        table.add_row(*map(escape, row))
    return table
