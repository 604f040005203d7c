"""What every optional pass is worth: the program compiled once more without it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...cost.protocol import ProtocolCosts
from ...devices import Device
from ...program import Program, is_narrow
from ..fixed_point.calibration import calibrate
from ..fixed_point.to_program import to_program
from ..graph import Graph
from ..passes import PassResult, optional_passes, run_passes
from ..passes.equalize import equalize
from .report import program_traffic

SUMMED = ("operator_sum_ms", "bytes_sent", "rounds", "comparisons")


def pass_gains(
    graph: Graph,
    program: Program,
    device: Device,
    protocol: ProtocolCosts,
    images: np.ndarray,
    results: Sequence[PassResult],
    disabled: Collection[str] = (),
) -> list[dict[str, Any]]:
    """What the program would cost more without each optional pass that changed something.

    Args:
        graph: before all passes.
        program: what it became.
        images: a few calibration images, enough to choose formats from.

    Returns:
        per pass `operator_sum_ms`, `bytes_sent` (both parties), `rounds` and `comparisons` saved, or a note where the
        model cannot be compiled without the pass.
    """
    with_all, narrow = _costs(program, device, protocol), is_narrow(program)
    changed = {result.name for result in results if result.changed}
    rows = []
    for name in optional_passes():
        if name not in changed:
            continue
        row: dict[str, Any] = {"pass": name}
        try:
            optimized, _ = run_passes(graph, {*disabled, name})
            optimized, calibration = equalize(optimized, calibrate(optimized, images))
            without, _ = to_program(optimized, calibration, narrow, constants=False)
            costs = _costs(without, device, protocol)
            row |= {key: costs[key] - with_all[key] for key in SUMMED}
        except Refusal as refusal:
            row["note"] = f"needed: {refusal}"
        rows.append(row)
    return rows


def _costs(program: Program, device: Device, protocol: ProtocolCosts) -> dict[str, float]:
    traffic = program_traffic(program, device, protocol)
    return {
        "operator_sum_ms": sum(row["latency_ms"] for row in traffic),
        "bytes_sent": sum(sum(row["bytes_sent"]) for row in traffic),
        "rounds": sum(row["rounds"] for row in traffic),
        "comparisons": sum(row["comparisons"] for row in traffic),
    }
