"""From the work of a tile to jobs: transfers at the memory's rate, phases on their units, messages on the link."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...devices import Device
from ...program.isa import Queue
from .job_table import JobGraph
from .jobs import BUFFER_GRANULE, Job, Rates
from .tile_phases import Work

WORD_BYTES = 4
#: A band of weights is loaded in pieces of this size, so that tiles need not wait long for the memory.
WEIGHT_PIECE_BYTES = 65_536


@dataclass(slots=True)  # and not frozen, as jobs
class TileWork:
    """A tile of one stage: which one, its elements, what it moves between memory and chip, and what it does there.

    Attributes:
        operation, tile, first_phase: number of the operation, of the tile in its stage, and of the first of `phases`.
        count: elements of the tile.
        load_bytes, store_bytes: between memory and chip.
        waits: jobs that must be done before it is loaded.
        weights: the loads of the band of weights that it works with, which are among `waits`.
    """

    operation: int
    tile: int
    first_phase: int
    count: int
    load_bytes: int
    store_bytes: int
    phases: Sequence[Work]
    waits: tuple[int, ...]
    weights: tuple[int, ...] = ()

    @property
    def buffer_bytes(self) -> int:
        """What it takes of the on-chip buffer."""
        return granules(self.load_bytes + self.store_bytes)


class JobWriter:
    """Appends jobs to a graph, each after those that it waits for."""

    def __init__(self, device: Device, reserve: int) -> None:
        self.graph, self.rates = JobGraph(reserve), Rates.of(device)

    def band(self, operation: int, band: int, phase: int, size: int) -> tuple[int, ...]:
        """Load `size` bytes of weights in pieces, one behind the other in the buffer that the first one takes."""
        first = len(self.graph.jobs)
        for begin in range(0, size, WEIGHT_PIECE_BYTES):
            amount = min(WEIGHT_PIECE_BYTES, size - begin)
            cycles, word = math.ceil(amount / self.rates.load_bytes_per_cycle), begin // WORD_BYTES
            held = 0 if begin else size
            self._add(Job(Queue.LOAD, cycles, 0, amount, operation, band, phase, word, (), held, True, (), first))
        return tuple(range(first, len(self.graph.jobs)))

    def tile(self, work: TileWork) -> int:
        """Load, phases and store of a tile; returns the store."""
        step, load = (work.operation, work.tile), len(self.graph.jobs)
        cycles = math.ceil(work.load_bytes / self.rates.load_bytes_per_cycle)
        where = (*step, work.first_phase, work.count, work.waits, work.buffer_bytes, False, (), load)
        self._add(Job(Queue.LOAD, cycles, 0, work.load_bytes, *where))
        last: tuple[int, ...] = (load,)
        for phase, works in enumerate(work.phases, work.first_phase):
            if works:
                last = self._phase(works, (*step, phase, work.count), last, load)
        cycles = math.ceil(work.store_bytes / self.rates.store_bytes_per_cycle)
        released = (load, *work.weights[:1])
        end = work.first_phase + len(work.phases)
        return self._add(
            Job(Queue.STORE, cycles, 0, work.store_bytes, *step, end, work.count, last, releases=released, load=load)
        )

    def _phase(self, works: Work, step: tuple[int, int, int, int], last: tuple[int, ...], load: int) -> tuple[int, ...]:
        """Jobs of a phase, which wait for `last`; returns what the next phase waits for."""
        jobs, first = self.graph.jobs, len(self.graph.jobs)
        for queue, amount in works:
            cycles, latency = amount, 0
            if queue is Queue.SEND or queue is Queue.RECEIVE:
                cycles, latency = math.ceil(amount / self.rates.link_bytes_per_cycle), self.rates.latency_cycles
            jobs.append(Job(queue, cycles, latency, amount, *step, last, load=load))
        return (first,) if len(works) == 1 else (first, first + 1)

    def _add(self, job: Job) -> int:
        self.graph.jobs.append(job)
        return len(self.graph.jobs) - 1


def granules(size: float) -> int:
    """Bytes of buffer that `size` bytes take."""
    return -(-math.ceil(size) // BUFFER_GRANULE) * BUFFER_GRANULE
