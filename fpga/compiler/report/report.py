"""What a compilation says of itself: report.json and the trace for Perfetto."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from ...cost.budget import device_budget
from ...cost.latency import phase_cost, total_cost
from ...cost.protocol import Exchange, ProtocolCosts
from ...devices import Device
from ...program import AnyOperation, Program
from ...program.isa import Queue
from ...program.lanes import side_by_side
from ...program.operators import comparison_count
from ...program.shapes import operation_shape
from ..fixed_point.calibration import DEFAULT_RANGE, Calibration
from ..fixed_point.certificate import Certificate, LayerError, certificate_rows, error_rows
from ..fixed_point.formats import HEADROOM
from ..passes import PassResult
from ..schedule.schedule import Schedule

REPORT_SCHEMA = 1


def build_report(
    program: Program,
    schedule: Schedule,
    instructions: int,
    device: Device,
    protocol: ProtocolCosts,
    calibration: Calibration,
    certificates: list[Certificate],
    errors: list[LayerError],
    passes: Sequence[PassResult],
    gains: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """report.json: times in milliseconds, bytes as [party 0, party 1], everything for a batch of one image."""
    traffic = program_traffic(program, device, protocol)
    ms = 1e3 / device.clock_hz
    return {
        "schema": REPORT_SCHEMA,
        "model": program.name,
        "source": dict(program.source),
        "device": device.name,
        "protocol": protocol.name,
        "network": {
            "bandwidth_bytes_per_s": device.bandwidth_bytes_per_s,
            "message_latency_s": device.message_latency_s,
        },
        "makespan_ms": schedule.makespan * ms,
        "lower_bound_ms": schedule.lower_bound * ms,
        "operator_sum_ms": sum(entry["latency_ms"] for entry in traffic),
        "bytes_sent": _sum(entry["bytes_sent"] for entry in traffic),
        "offline_bytes": _sum(entry["offline_bytes"] for entry in traffic),
        "setup_bytes": _sum(entry["setup_bytes"] for entry in traffic),
        "rounds": sum(entry["rounds"] for entry in traffic),
        "comparisons": sum(entry["comparisons"] for entry in traffic),
        "instructions": instructions,
        "schedule": {
            "tiles": schedule.tiles,
            "makespan_cycles": schedule.makespan,
            "bounds_ms": {name: cycles * ms for name, cycles in schedule.bounds.items()},
            "busy_ms": {queue.name.lower(): cycles * ms for queue, cycles in schedule.busy.items()},
        },
        "resources": device_budget(device).to_dict(),
        "calibration": {
            "images": calibration.images,
            "assumed_range": DEFAULT_RANGE if calibration.assumed else None,
            "assumed_images_left_out": calibration.left_out,
            "headroom": HEADROOM,
        },
        **({"head": list(program.head)} if program.head else {}),
        "passes": [
            {"name": item.name, "changed": item.changed, "nodes": [item.nodes_before, item.nodes_after]}
            for item in passes
        ],
        "gains": list(gains),
        "traffic": traffic,
        "certificate": certificate_rows(certificates),
        "error_budget": error_rows(errors),
    }


def program_traffic(program: Program, device: Device, protocol: ProtocolCosts) -> list[dict[str, Any]]:
    """What every operation sends and how long it takes on its own, for one image.

    Of lanes that take their rounds together, those of the longest count.
    """
    placed = protocol.in_place(program)
    rows = [_traffic(operation, program, device, placed[operation.name]) for operation in program.operations]
    for group in side_by_side(program):
        longest = group.longest([row["rounds"] for row in rows])
        for index in (index for number, lane in enumerate(group.lanes) if number != longest for index in lane):
            messages_ms = 1e3 * device.message_latency_s * rows[index]["rounds"]
            for key in ("communication_ms", "latency_ms"):
                rows[index][key] -= messages_ms
            rows[index]["rounds"] = 0
    return rows


def _traffic(operation: AnyOperation, program: Program, device: Device, protocol: ProtocolCosts) -> dict[str, Any]:
    shape = operation_shape(operation, program)
    phases = protocol.phases(shape, device)
    cost = total_cost(phase_cost(phase, device) for phase in phases)
    return {
        "operation": operation.name,
        "kind": operation.kind,
        "rounds": sum(isinstance(phase, Exchange) for phase in phases),
        "bytes_sent": list(cost.bytes_sent),
        "offline_bytes": list(protocol.offline_bytes(shape)),
        "setup_bytes": list(protocol.setup_bytes(shape)),
        "comparisons": comparison_count(shape),
        "compute_ms": cost.compute_ms,
        "communication_ms": cost.communication_ms,
        "latency_ms": cost.latency_ms,
    }


def _sum(pairs: Any) -> list[int]:
    totals = [0, 0]
    for pair in pairs:
        totals = [totals[0] + pair[0], totals[1] + pair[1]]
    return totals


def tiles_document(schedule: Schedule) -> bytes:
    """tiles.json: per stage the regions [first channel, end channel, first row, end row] of its tiles, by number."""
    stages = [
        {
            "operation": stage.operation,
            "tensor": stage.tensor,
            "phases": [stage.first_phase, stage.end_phase],
            "tiles": [[*region.channels, *region.rows] for region in stage.regions],
        }
        for stage in schedule.stages
    ]
    return (json.dumps({"schema": REPORT_SCHEMA, "stages": stages}, separators=(",", ":")) + "\n").encode()


def trace_events(schedule: Schedule, program: Program, device: Device) -> bytes:
    """trace.json in the Chrome trace format: one track per queue, times in microseconds."""
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 0, "name": "process_name", "args": {"name": f"{program.name} on {device.name}"}}
    ]
    for queue in Queue:
        events.append(
            {"ph": "M", "pid": 0, "tid": int(queue), "name": "thread_name", "args": {"name": queue.name.lower()}}
        )
    heads = [json.dumps(event, separators=(",", ":")) for event in events]
    lines = _trace_lines(schedule, program, 1e6 / device.clock_hz)
    return ('{"traceEvents":[' + ",".join(chain(heads, lines)) + "]}\n").encode()


def _trace_lines(schedule: Schedule, program: Program, microseconds: float) -> Iterator[str]:
    """The event of every job; written out here, since objects for tens of thousands take a second."""
    names = [json.dumps(operation.name) for operation in program.operations]
    jobs, starts = schedule.jobs, schedule.starts
    for index in schedule.order:
        job = jobs[index]
        start, duration = round(starts[index] * microseconds, 4), round(job.duration * microseconds, 4)
        yield (
            f'{{"ph":"X","pid":0,"tid":{int(job.queue)},"name":{names[job.operation]},"ts":{start!r},"dur":{duration!r},'
            f'"args":{{"tile":{job.tile},"phase":{job.phase},"amount":{job.amount}}}}}'
        )
