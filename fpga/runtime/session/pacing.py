"""The clock of two boards: an execution that takes as long as the device model says, operation by operation.

Each party waits after an operation until the modelled time of all operations so far has passed. Where this machine is
slower than the boards the execution lags; then its times are this machine's, and the report says so.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ...cost.latency import phase_cost, total_cost
from ...devices import Device
from ...program import Program
from ...program.shapes import operation_shape
from ...protocols import get_costs

WALL_CLOCK, DEVICE_CLOCK = "wall", "device"
#: Fraction of the modelled time by which an execution may be late and still count as paced.
TOLERANCE = 0.01


class Pace:
    """Modelled seconds of every operation of a program on one device under one protocol."""

    def __init__(self, program: Program, device: Device, protocol: str) -> None:
        self._shapes = {operation.name: operation_shape(operation, program) for operation in program.operations}
        self._device, self._placed = device, get_costs(protocol).in_place(program)
        self.modelled_s = 0.0
        self.late_s = 0.0
        self._due = time.perf_counter()
        self.operation_s = functools.cache(self._operation_s)

    def _operation_s(self, name: str, batch: int) -> float:
        phases = self._placed[name].phases(self._shapes[name], self._device, batch)
        return total_cost(phase_cost(phase, self._device) for phase in phases).latency_ms / 1e3

    def start(self) -> None:
        """A batch begins now."""
        self._due = time.perf_counter()

    @contextmanager
    def keep(self, name: str, batch: int) -> Iterator[None]:
        """Hold one operation until the boards would be done with it."""
        yield
        seconds = self.operation_s(name, batch)
        self._due += seconds
        self.modelled_s += seconds
        time.sleep(max(0.0, self._due - time.perf_counter()))

    def finish(self) -> None:
        """A batch ends: how late it is counts."""
        self.late_s += max(0.0, time.perf_counter() - self._due)

    @property
    def clock(self) -> str:
        """Which clock the execution's time is of."""
        return DEVICE_CLOCK if self.late_s <= max(0.002, TOLERANCE * self.modelled_s) else WALL_CLOCK
