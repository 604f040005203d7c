"""A latency table for people: as text, as a difference of two, as a figure, as JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rrnet_nni.base.figures import figure_canvas, save_figure
from rrnet_nni.base.tables import text_table

from .latency import OperatorCost
from .lut import LatencyTable
from .text import COST_HEADER, cost_columns

Key = tuple[str, str]


def table_rows(table: LatencyTable) -> Iterator[tuple[Key, OperatorCost]]:
    """(label, candidate) -> cost of every choice, then (name, "fixed") of everything else."""
    for label, candidates in table.entries.items():
        for candidate, cost in candidates.items():
            yield (label, candidate), cost
    for name, cost in table.fixed.items():
        yield (name, "fixed"), cost


def format_table(table: LatencyTable) -> str:
    """One line per entry, in the order of the network: stable, so that `diff` shows what changed."""
    rows = ((*key, *cost_columns(cost)) for key, cost in table_rows(table))
    heading = f"protocol {table.protocol}, device {table.device}, one image\n\n"
    return heading + text_table(("operator", "candidate", *COST_HEADER), rows, left=2)


def diff_tables(before: LatencyTable, after: LatencyTable) -> str:
    """Entries whose cost differs, with latency before, after and their ratio; empty if there are none."""
    old, new = dict(table_rows(before)), dict(table_rows(after))
    rows = []
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) == new.get(key):
            continue
        times = [costs[key].latency_ms if key in costs else None for costs in (old, new)]
        ratio = f"{times[1] / times[0]:.3f}" if times[0] and times[1] is not None else "-"
        rows.append((*key, *("-" if time is None else f"{time:.4f}" for time in times), ratio))
    if not rows:
        return ""
    names = [f"{table.protocol} on {table.device}, ms" for table in (before, after)]
    return text_table(("operator", "candidate", *names, "ratio"), rows, left=2)


def table_to_dict(table: LatencyTable) -> dict[str, Any]:
    """The table as plain JSON values."""
    return {
        "device": table.device,
        "protocol": table.protocol,
        "choices": {
            label: {candidate: _cost_to_dict(cost) for candidate, cost in candidates.items()}
            for label, candidates in table.entries.items()
        },
        "fixed": {name: _cost_to_dict(cost) for name, cost in table.fixed.items()},
        "fixed_ms": table.fixed_ms,
    }


def _cost_to_dict(cost: OperatorCost) -> dict[str, Any]:
    return {"latency_ms": cost.latency_ms, **asdict(cost)}


def draw_table(table: LatencyTable, path: Path) -> None:
    """Bars of every entry: computation, transfer and message latency, in the order of the network."""
    rows = list(table_rows(table))
    figure, axes = figure_canvas(1, width=8.0, height=max(2.5, 0.18 * len(rows) + 1))
    axis = axes[0][0]
    position, left = range(len(rows)), [0.0] * len(rows)
    for part in ("compute_ms", "transfer_ms", "message_ms"):
        widths = [getattr(cost, part) for _, cost in rows]
        axis.barh(position, widths, left=left, label=part.removesuffix("_ms"))
        left = [start + width for start, width in zip(left, widths)]
    axis.set_yticks(position, [" ".join(key) for key, _ in rows], fontsize=6)
    axis.invert_yaxis()
    axis.set(xlabel="latency, ms", title=f"protocol {table.protocol}, device {table.device}", ylim=(len(rows), -1))
    axis.legend()
    save_figure(figure, path)
