"""Tables for people: aligned columns of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .latency import OperatorCost

COST_HEADER = ("ms", "compute", "transfer", "messages", "rounds", "sent 0 B", "sent 1 B", "offline B", "comparisons")


def cost_columns(cost: OperatorCost) -> tuple[str, ...]:
    """One cost as the columns of `COST_HEADER`; offline bytes are those of both parties."""
    return (
        f"{cost.latency_ms:.4f}",
        f"{cost.compute_ms:.4f}",
        f"{cost.transfer_ms:.4f}",
        f"{cost.message_ms:.4f}",
        f"{cost.rounds}",
        f"{cost.bytes_sent[0]}",
        f"{cost.bytes_sent[1]}",
        f"{sum(cost.offline_bytes)}",
        f"{cost.comparisons}",
    )


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
