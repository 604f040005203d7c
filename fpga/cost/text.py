"""Tables for people: aligned columns of plain text."""

from __future__ import annotations

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
