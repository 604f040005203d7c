"""Scheduling by constraint programming: OR-tools' CP-SAT proves a bound and looks for a shorter schedule.

The model has every job as an interval on its queue, the dependencies with message latencies, and the buffer as a
capacity: a tile or weights take their bytes from the start of their load to the end of the last store that gives them
back. Where in the buffer is left open, so its bound holds for every schedule of these jobs; an order that it finds
is placed by the list scheduler, which also finds addresses, and kept if it is shorter.

OR-tools is an optional extra: `pip install 'rrnet-nni[optimal]'`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...program.isa import Queue
from .list_scheduler import ListScheduler
from .schedule import Schedule

#: Effort in units of the solver's own deterministic time, seconds of a fast core or more: the same build every time.
DETERMINISTIC_SECONDS = 20.0
#: More jobs than this make a model that the solver does not improve on in that time.
JOBS_LIMIT = 3_000
SEED = 1


def optimize(schedule: Schedule, seconds: float | None = None) -> Schedule:
    """The schedule or a shorter one, with the bound that CP-SAT proved.

    Raises:
        Refusal: the program is too large.
        ModuleNotFoundError: OR-tools is not installed; commands say what to install.
    """
    from ortools.sat.python import cp_model

    if len(schedule.jobs) > JOBS_LIMIT:
        raise Refusal(f"--optimal takes at most {JOBS_LIMIT:,} jobs; this schedule has {len(schedule.jobs):,}")
    model = cp_model.CpModel()
    starts = _build(model, schedule)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SEED
    solver.parameters.max_deterministic_time = DETERMINISTIC_SECONDS if seconds is None else seconds
    status = solver.solve(model)
    bound = int(solver.best_objective_bound)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE) or solver.objective_value >= schedule.makespan:
        return replace(schedule, proven=bound)
    order = np.array([solver.value(start) for start in starts], np.int64)
    scheduler = ListScheduler(schedule.graph, schedule.device)
    found, addresses = scheduler.forward(order)
    shortest = scheduler.makespan(found)
    if shortest >= schedule.makespan:
        return replace(schedule, proven=bound)
    return replace(schedule, starts=found.tolist(), addresses=addresses.tolist(), makespan=shortest, proven=bound)


def _build(model: Any, schedule: Schedule) -> list[Any]:
    """The start of every job as a variable, with the schedule as a hint; the makespan is to be minimized."""
    jobs, horizon = schedule.jobs, schedule.makespan
    starts = [model.new_int_var(0, horizon - job.duration - job.latency, f"start {i}") for i, job in enumerate(jobs)]
    makespan = model.new_int_var(schedule.lower_bound, horizon, "makespan")
    queues: dict[Queue, list[Any]] = {queue: [] for queue in Queue}
    users: dict[int, list[int]] = {}
    for index, job in enumerate(jobs):
        if job.duration:
            queues[job.queue].append(model.new_fixed_size_interval_var(starts[index], job.duration, f"job {index}"))
        for before in job.dependencies:
            model.add(starts[index] >= starts[before] + jobs[before].duration + jobs[before].latency)
        for load in job.releases:
            users.setdefault(load, []).append(index)
        model.add(makespan >= starts[index] + job.duration + job.latency)
        model.add_hint(starts[index], schedule.starts[index])
    for intervals in queues.values():
        model.add_no_overlap(intervals)
    held, sizes = [], []
    for load, stores in users.items():
        end, size = model.new_int_var(0, horizon, f"released {load}"), model.new_int_var(0, horizon, f"held {load}")
        for store in stores:
            model.add(end >= starts[store] + jobs[store].duration)
        model.add_hint(end, max(schedule.starts[store] + jobs[store].duration for store in stores))
        held.append(model.new_interval_var(starts[load], size, end, f"buffer {load}"))
        sizes.append(jobs[load].allocates)
    model.add_cumulative(held, sizes, schedule.device.buffer_bytes)
    model.minimize(makespan)
    return starts
