"""What every optional pass is worth: the program compiled once more without it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rrnet_nni.base.errors import Refusal

from ...cost.protocol import ProtocolCosts
from ...devices import Device
from ...program import Program, is_narrow
from ..fixed_point.calibration import Calibration, UnfitRange
from ..fixed_point.to_program import to_program
from ..graph import Graph
from ..passes import PassResult, optional_passes, run_passes
from ..passes.equalize import equalize
from .report import program_traffic

SUMMED = ("operator_sum_ms", "bytes_sent", "rounds", "comparisons")


def graphs_without(
    graph: Graph, results: Sequence[PassResult], disabled: Collection[str]
) -> dict[str, Graph | Refusal]:
    """By optional pass that changed something, what the graph becomes without it, or why it becomes nothing.

    Args:
        graph: before all passes.
        results: of its passes.
        disabled: passes that were skipped.
    """
    changed = {result.name for result in results if result.changed}
    found: dict[str, Graph | Refusal] = {}
    for name in optional_passes():
        if name in changed:
            try:
                found[name] = run_passes(graph, {*disabled, name})[0]
            except Refusal as refusal:
                found[name] = refusal
    return found


def pass_gains(
    without: Mapping[str, Graph | Refusal],
    calibrations: Mapping[str, Calibration | UnfitRange],
    program: Program,
    device: Device,
    protocol: ProtocolCosts,
) -> list[dict[str, Any]]:
    """What the program would cost more without each optional pass that changed something.

    Args:
        without: of `graphs_without`.
        calibrations: of those that are graphs.
        program: with all passes.

    Returns:
        per pass `operator_sum_ms`, `bytes_sent` (both parties), `rounds` and `comparisons` saved, or a note where the
        model cannot be compiled without the pass.
    """
    with_all, narrow = _costs(program, device, protocol), is_narrow(program)
    rows = []
    for name, optimized in without.items():
        row: dict[str, Any] = {"pass": name}
        try:
            costs = _costs(_program(optimized, calibrations.get(name), narrow), device, protocol)
            row |= {key: costs[key] - with_all[key] for key in SUMMED}
        except Refusal as refusal:
            row["note"] = f"needed: {refusal}"
        rows.append(row)
    return rows


def _program(optimized: Graph | Refusal, calibration: Calibration | UnfitRange | None, narrow: bool) -> Program:
    if isinstance(optimized, Refusal):
        raise optimized
    if isinstance(calibration, UnfitRange):
        raise calibration
    assert calibration is not None
    return to_program(*equalize(optimized, calibration), narrow, constants=False)[0]


def _costs(program: Program, device: Device, protocol: ProtocolCosts) -> dict[str, float]:
    traffic = program_traffic(program, device, protocol)
    return {
        "operator_sum_ms": sum(row["latency_ms"] for row in traffic),
        "bytes_sent": sum(sum(row["bytes_sent"]) for row in traffic),
        "rounds": sum(row["rounds"] for row in traffic),
        "comparisons": sum(row["comparisons"] for row in traffic),
    }
