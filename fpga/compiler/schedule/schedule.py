"""The schedule of a program: which tiling, which order, and how far it is from what no schedule can undercut.

Both parties run the same schedule in lock step, so one timeline describes both: `send` is what party 0 sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...cost.protocol import ProtocolCosts
from ...devices import Device
from ...program import Program
from ...program.isa import Queue
from .bounds import lower_bounds
from .job_table import JobGraph
from .jobs import Job, Stage
from .list_scheduler import ListScheduler
from .starting_orders import SLANTS, starting_order
from .tiling import build_jobs

#: Tiles per operation that are tried, until more make the schedule no shorter.
TILE_CHOICES = (8, 16, 24)
#: Backward and forward passes that each tiling gets in each starting order, and the finalists in addition.
FIRST_IMPROVEMENTS, MORE_IMPROVEMENTS = 2, 24
#: How much longer than the shortest a schedule from the program's own order may be and still be a finalist.
PROMISING = 1.02
#: Passes without a gain after which no more are tried.
PATIENCE = 4
#: Orders near the best one that are tried, and how many of them in vain.
NUDGES, NUDGES_IN_VAIN = 96, 32
#: By how many cycles tiles move up or down in such an order, in turns.
NUDGE_CYCLES = (1_000, 4_000, 16_000)
SEED = 1
#: Jobs that may be scheduled, all tries together: large programs get fewer tilings, passes and nudges.
JOB_BUDGET = 12_000_000


@dataclass(frozen=True)
class Schedule:
    """Start cycle of every job, and the on-chip address of every tile's buffer.

    Attributes:
        graph: the jobs, in program order, and the stages whose tiles they work on.
        starts, addresses: by job.
        makespan: cycles until everything is done.
        busy: cycles that each queue works.
        tiles: tiles per operation that were asked for.
        device: whose buffers and rates it was made for.
        proven: cycles that constraint programming has proven no schedule to undercut; 0 where it was not asked.
    """

    graph: JobGraph
    starts: Sequence[int]
    addresses: Sequence[int]
    makespan: int
    busy: dict[Queue, int]
    tiles: int
    device: Device
    proven: int = 0

    @property
    def jobs(self) -> Sequence[Job]:
        return self.graph.jobs

    @property
    def stages(self) -> Sequence[Stage]:
        return self.graph.stages

    @cached_property
    def order(self) -> list[int]:
        """The jobs in the order of their start, then of their number."""
        return np.argsort(np.array(self.starts, np.int64), kind="stable").tolist()

    @cached_property
    def bounds(self) -> dict[str, int]:
        """Cycles that no schedule of these jobs can undercut, by reason."""
        proven = {"constraint programming": self.proven} if self.proven else {}
        return lower_bounds(self.graph, self.device) | proven

    @property
    def lower_bound(self) -> int:
        """No schedule of these jobs is shorter."""
        return max(self.bounds.values(), default=0)

    def end(self, job: int) -> int:
        return self.starts[job] + self.jobs[job].duration + self.jobs[job].latency


@dataclass(frozen=True, eq=False)
class Found:
    """A schedule while others are tried: `starts` and `addresses` int64 by job, of what `scheduler` schedules.

    `slant` is that of the order that it started from, `tiles` as in `Schedule`.
    """

    starts: np.ndarray
    addresses: np.ndarray
    makespan: int
    slant: int
    tiles: int
    scheduler: ListScheduler

    @property
    def schedule(self) -> Schedule:
        """As it is handed on."""
        scheduler, table = self.scheduler, self.scheduler.table
        busy = {queue: int(table.duration[table.queue == queue].sum()) for queue in Queue}
        starts, addresses = self.starts.tolist(), self.addresses.tolist()
        return Schedule(scheduler.graph, starts, addresses, self.makespan, busy, self.tiles, scheduler.device)


def schedule_program(
    program: Program, device: Device, protocol: ProtocolCosts, tile_choices: Sequence[int] = TILE_CHOICES
) -> Schedule:
    """Ever finer tilings as long as these shorten the schedule; the best ones are improved further."""
    found: list[Found] = []
    budget = JOB_BUDGET
    for tiles in tile_choices:
        graph, slants = build_jobs(program, device, protocol, tiles), promising_slants(found)
        if found and len(graph.jobs) * len(slants) * (1 + 2 * FIRST_IMPROVEMENTS) > budget // 2:
            break
        tried = list_schedules(graph, device, tiles, FIRST_IMPROVEMENTS, slants)
        budget -= tried[0].scheduler.jobs_scheduled
        before, found = finalists(found), found + tried
        if before and finalists(found)[0] is before[0]:
            break
    if not found:
        raise ValueError("no number of tiles to try")
    return shortest(_polished(finalists(found), budget)).schedule


def _polished(found: list[Found], budget: int) -> list[Found]:
    """Passes backwards and forwards, then nudges, of the shortest first, while the jobs of the budget last."""
    for rounds, most, improve in ((2, MORE_IMPROVEMENTS, improved), (3, NUDGES, nudged)):
        found = sorted(found, key=lambda item: item.makespan)
        for place, item in enumerate(found):
            spent = item.scheduler.jobs_scheduled
            times = min(most, max(0, budget) // (rounds * max(1, len(item.starts))))
            found[place] = improve(item, times)
            budget -= item.scheduler.jobs_scheduled - spent
    return found


def finalists(found: Sequence[Found]) -> list[Found]:
    """The shortest, and the shortest from the program's own order where it is nearly as short; none of none."""
    if not found:
        return []
    best, own = shortest(found), shortest([item for item in found if not item.slant])
    return [best, own] if own is not best and own.makespan <= PROMISING * best.makespan else [best]


def promising_slants(found: Sequence[Found]) -> tuple[int, ...]:
    """All, or of those that were tried the program's own, the best one and its neighbours."""
    if not found:
        return SLANTS
    best = SLANTS.index(shortest(found).slant)
    return tuple(slant for place, slant in enumerate(SLANTS) if not place or abs(place - best) <= 1)


def shortest(found: Sequence[Found]) -> Found:
    return min(found, key=lambda item: item.makespan)


def list_schedule(graph: JobGraph, device: Device, tiles: int = 0, improvements: int = 0) -> Schedule:
    """The shortest of the `list_schedules`."""
    return shortest(list_schedules(graph, device, tiles, improvements)).schedule


def list_schedules(
    graph: JobGraph, device: Device, tiles: int, improvements: int, slants: Sequence[int] = SLANTS
) -> list[Found]:
    """Schedule all jobs greedily, once from each of the starting orders; each gets so many improvements."""
    scheduler = ListScheduler(graph, device)
    found = []
    for slant in slants:
        starts, addresses = scheduler.forward(starting_order(graph, scheduler.table, slant))
        first = Found(starts, addresses, scheduler.makespan(starts), slant, tiles, scheduler)
        found.append(improved(first, improvements))
    return found


def improved(found: Found, passes: int) -> Found:
    """The shortest of the schedule and those of up to `passes` backward and forward passes that start from it."""
    best, starts, scheduler, in_vain = found, found.starts, found.scheduler, 0
    for _ in range(passes):
        starts, addresses = scheduler.forward(scheduler.latest_starts(starts + scheduler.table.duration))
        makespan = scheduler.makespan(starts)
        in_vain = 0 if makespan < best.makespan else in_vain + 1
        if not in_vain:
            best = replace(found, starts=starts, addresses=addresses, makespan=makespan)
        elif in_vain == PATIENCE:
            break
    return best


def nudged(found: Found, nudges: int) -> Found:
    """The shortest of the schedule and those of orders near the best one, in which tiles move up or down a little.

    Forward-backward passes end in an order from which they lead nowhere else; a nudge leaves it. What is tried is
    random, and the same in every run.
    """
    if not nudges:
        return found
    generator, scheduler, table = np.random.default_rng(SEED), found.scheduler, found.scheduler.table
    _, tile = np.unique((table.operation << 16) + table.tile, return_inverse=True)
    order = scheduler.latest_starts(found.starts + table.duration)
    best, in_vain = found, 0
    for number in range(nudges):
        cycles = NUDGE_CYCLES[number % len(NUDGE_CYCLES)]
        starts, _ = scheduler.forward(order + generator.integers(0, cycles, tile.max(initial=0) + 1)[tile])
        tried = scheduler.latest_starts(starts + table.duration)
        starts, addresses = scheduler.forward(tried)
        makespan = scheduler.makespan(starts)
        in_vain = 0 if makespan < best.makespan else in_vain + 1
        if makespan <= best.makespan:
            order = tried
        if not in_vain:
            best = replace(found, starts=starts, addresses=addresses, makespan=makespan)
        elif in_vain == NUDGES_IN_VAIN:
            break
    return best
