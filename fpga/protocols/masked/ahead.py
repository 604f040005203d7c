"""One party of `masked` on a long link: some rows of an image go on while others wait for the other party.

A band of rows is opened, compared and selected by the same steps as a whole tensor; a convolution makes a band of its
output as soon as the rows that it reads are open. The octets that are opened are those of whole tensors in another
order: values, bytes and rounds stay what they are.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...program import AnyOperation, ConvOp, Program, TruncateOp
from ..lanes import LaneChannel
from ..party import AheadChannel, BatchMaterial, Channel, Observer
from ..shared.opened_words import OperationPlan, opened_by
from ..wavefront import Task, TaskGraph
from .comparison import Comparison
from .opening import open_wire
from .party import MaskedParty
from .row_bands import Cut, Rows, RowsOfValues, operation_bands, row_bands, rows_read
from .values import PreparedOperation, Values

ALL_ROWS = 0, 1 << 30


@dataclass(frozen=True)
class BandedOperation:
    """What a party knows of an operation before its input.

    Attributes:
        parts: of every band of its output.
        openings: share of the mask of every band of its input, of a convolution that opens it.
    """

    parts: list[PreparedOperation]
    openings: list[np.ndarray]


@dataclass
class _Walk:
    """What a walk through the tasks works on.

    Attributes:
        lane: the party, over the channel of a task.
        known: of every operation.
        values: of the program.
        left: parts of every operation that are not done.
    """

    lane: MaskedParty
    known: list[BandedOperation]
    values: Values
    left: list[int]


class AheadParty(MaskedParty):
    """A party that begins rounds before others have ended, over a link that allows it."""

    def __init__(
        self, number: int, program: Program, channel: Channel, comparison: Comparison, ahead: AheadChannel
    ) -> None:
        super().__init__(number, program, channel, comparison)
        self._ahead = ahead
        plans = zip(program.operations, self._plans, strict=True)
        self._bands = [operation_bands(operation, plan, program) for operation, plan in plans]
        tasks = _Tasks(program, self._plans, self._end)
        for index, operation in enumerate(program.operations):
            if isinstance(operation, ConvOp) and self._plans[index].opens:
                source = row_bands(program.tensor(operation.inputs[0]).shape)
                opens = [partial(self._open_rows, index, band, rows) for band, rows in enumerate(source)]
                tasks.open(index, operation, list(zip(source, opens, strict=True)))
            tasks.add(index, operation, self._bands[index], partial(self._evaluate_band, index))
        self._graph, self._parts = TaskGraph(tasks.tasks), tasks.parts

    def prepare(self, material: BatchMaterial, observe: Observer) -> list[BandedOperation]:  # type: ignore[override]
        return [self._cut(index, known) for index, known in enumerate(super().prepare(material, observe))]

    def _cut(self, index: int, known: PreparedOperation) -> BandedOperation:
        operation, bands = self.program.operations[index], self._bands[index]
        shape = self.program.tensor(operation.output).shape
        if isinstance(operation, ConvOp) and known.product is not None:
            source = self.program.tensor(operation.inputs[0]).shape
            mask = known.mask if self._plans[index].opens else None
            openings = [] if mask is None else [Cut(source, rows).tensor(mask) for rows in row_bands(source)]
            parts = [PreparedOperation(product=Cut(shape, rows).tensor(known.product)) for rows in bands]
            return BandedOperation(parts, openings)
        if len(bands) == 1:
            return BandedOperation([known], [])
        return BandedOperation([Cut(shape, rows).material(known, self._comparison) for rows in bands], [])

    def evaluate(  # type: ignore[override]
        self, share: np.ndarray, prepared: list[BandedOperation], observe: Observer
    ) -> np.ndarray:
        lane = copy.copy(self)
        lane.channel = LaneChannel()
        walk = _Walk(lane, prepared, Values(self.number, self.program, share, postpones=False), self._parts.copy())
        self._graph.walk(walk, self._ahead, observe)
        return walk.values.narrow(self.program.output)

    def _end(self, index: int, walk: _Walk) -> None:
        """A part of an operation is done; when all are, its inputs have been read."""
        walk.left[index] -= 1
        if walk.left[index]:
            return
        operation = self.program.operations[index]
        if self.reduced is not None and isinstance(operation, TruncateOp) and self._plans[index].reduces:
            self.reduced[operation.name] = walk.values.shares[operation.inputs[0]]
        walk.values.end_reading(operation)

    def _open_rows(self, index: int, band: int, rows: Rows, walk: _Walk) -> None:
        """Open some rows of a convolution's input."""
        width, name = self._plans[index].width, self.program.operations[index].inputs[0]
        view = RowsOfValues(walk.values, self.program, rows)
        mask = walk.known[index].openings[band]
        view.opened[name] = open_wire(LaneChannel(), self.number, view.narrow(name), mask, width)

    def _evaluate_band(self, index: int, band: int, walk: _Walk) -> None:
        """One band of an operation, or all of it."""
        operation, rows, parts = self.program.operations[index], self._bands[index][band], walk.known[index].parts
        part, parts[band] = parts[band], PreparedOperation()  # read for the last time
        whole = len(self._bands[index]) == 1
        view = walk.values if whole else RowsOfValues(walk.values, self.program, rows)
        if isinstance(operation, ConvOp):
            view.shares[operation.output] = self._convolve_rows(index, operation, rows, walk.values, part)
            return
        walk.lane._evaluate_operation(index, operation, view, part)

    def _convolve_rows(
        self, index: int, operation: ConvOp, rows: Rows, values: Values, known: PreparedOperation
    ) -> np.ndarray:
        """This party's share of some rows of a convolution's output, from open rows of its input."""
        geometry, _, online = self._factors[index]
        (first, end), (above, below) = rows_read(operation, self.program, rows)
        _, left, _, right = geometry.padding
        opened = np.ascontiguousarray(values.opened[operation.inputs[0]][:, :, first:end])
        return replace(geometry, padding=(above, left, below, right)).product(opened, online, known.product)


class _Tasks:
    """The tasks of a program, each behind those that make what it reads, and of how many parts operations are.

    An operation that replaces words or shares of a tensor waits for all that read them before.
    """

    def __init__(self, program: Program, plans: tuple[OperationPlan, ...], end: Callable[[int, Any], None]) -> None:
        self.tasks: list[Task] = []
        self.parts = [0] * len(program.operations)
        self._program, self._plans, self._end = program, plans, end
        self._writers: dict[str, list[tuple[int, Rows]]] = defaultdict(list)
        self._readers: dict[str, set[int]] = defaultdict(set)
        self._opened: set[str] = set()

    def open(self, index: int, operation: ConvOp, bands: list[tuple[Rows, Callable[[Any], None]]]) -> None:
        """Tasks that open the bands of a convolution's input."""
        name = operation.inputs[0]
        replaced = self._readers[name].copy() if name in self._opened else set()
        places = []
        for band, (rows, run) in enumerate(bands):
            places.append((self._put(index, self._makers(name, rows) | replaced, run, not band), rows))
        self._writers[name] += places
        if bands:
            self._opened.add(name)

    def add(
        self, index: int, operation: AnyOperation, bands: tuple[Rows, ...], run: Callable[[int, Any], None]
    ) -> None:
        """Tasks that make the bands of an operation's output."""
        plan, written = self._plans[index], [operation.output]
        if not isinstance(operation, ConvOp):
            opened = [opened_by(operation, plan)] if plan.opens else []
            opened += [operation.inputs[1]] if plan.opens_second else []
            written += [name for name in opened if name != operation.output]
            if plan.lifts and not isinstance(operation, TruncateOp):
                written.append(operation.inputs[0])
                self._opened.add(operation.inputs[0])  # the share that was there is replaced
        replaced = set().union(*(self._readers[name] for name in written if name in self._opened))
        self._opened.update(written if plan.wire or plan.reduces else written[1:])
        places = []
        for band, rows in enumerate(bands):
            read = self._rows_read(operation, rows if len(bands) > 1 else None)
            needs = set().union(*(self._makers(name, read) for name in operation.inputs))
            place = self._put(index, needs | replaced, partial(run, band), not band)
            places.append((place, rows if len(bands) > 1 else ALL_ROWS))
        for name in set(written):
            self._writers[name] += places
        for name in operation.inputs:
            self._readers[name].update(place for place, _ in places)

    def _rows_read(self, operation: AnyOperation, rows: Rows | None) -> Rows | None:
        if rows is None or not isinstance(operation, ConvOp):
            return rows
        return rows_read(operation, self._program, rows)[0]

    def _makers(self, name: str, rows: Rows | None) -> set[int]:
        """The tasks that make some rows of a tensor, or all."""
        return {
            place for place, (first, end) in self._writers[name] if rows is None or (first < rows[1] and rows[0] < end)
        }

    def _put(self, index: int, needs: set[int], run: Callable[[Any], None], counts: bool) -> int:
        self.parts[index] += 1

        def do(walk: Any) -> None:
            run(walk)
            self._end(index, walk)

        self.tasks.append(Task(self._program.operations[index].name, frozenset(needs), do, counts))
        return len(self.tasks) - 1
