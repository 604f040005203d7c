"""report.html: one file that opens anywhere, with the Gantt chart and the tables of report.json."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from rrnet_nni.base.page import page_style

from ...devices import Device
from ...program import Program
from ...program.isa import Queue
from ..schedule.schedule import Schedule


def report_page(report: dict[str, Any], schedule: Schedule, program: Program, device: Device) -> bytes:
    """The page, with its data inside."""
    template = resources.files(__package__).joinpath("template.html").read_text(encoding="utf-8")
    data = {
        "report": report,
        "gantt": gantt_bars(schedule, device),
        "buffer": {"bytes": device.buffer_bytes, "blocks": buffer_blocks(schedule, device)},
        "operations": [op.name for op in program.operations],
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("/*STYLE*/", page_style()).replace("/*DATA*/null", text).encode()


def gantt_bars(schedule: Schedule, device: Device) -> dict[str, list[list[float]]]:
    """Per queue: [operation index, start ms, end ms]; touching bars of one operation are joined."""
    ms = 1e3 / device.clock_hz
    bars: list[list[list[float]]] = [[] for _ in Queue]
    jobs, starts = schedule.jobs, schedule.starts
    for index in schedule.order:
        job, start = jobs[index], starts[index]
        row = bars[job.queue]
        if row and row[-1][0] == job.operation and row[-1][2] >= start:
            row[-1][2] = start + job.duration
        elif job.duration:
            row.append([job.operation, start, start + job.duration])
    return {
        queue.name.lower(): [[operation, round(start * ms, 5), round(end * ms, 5)] for operation, start, end in row]
        for queue, row in zip(Queue, bars, strict=True)
    }


def buffer_blocks(schedule: Schedule, device: Device) -> list[list[float]]:
    """The on-chip buffer over time: [operation index, start ms, end ms, address, bytes, weights or not] of every block.

    A block is held from the start of its load to the end of the last store that gives it back.
    """
    ms = 1e3 / device.clock_hz
    released: dict[int, int] = {}
    for index, job in enumerate(schedule.jobs):
        for load in job.releases:
            released[load] = max(released.get(load, 0), schedule.starts[index] + job.duration)
    blocks: list[list[float]] = []
    for load, end in sorted(released.items()):
        job, start = schedule.jobs[load], schedule.starts[load]
        times = (round(start * ms, 5), round(end * ms, 5))
        blocks.append([job.operation, *times, schedule.addresses[load], job.allocates, int(job.weights)])
    return blocks
