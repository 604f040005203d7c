"""Bands of rows: into which parts a tensor's words are cut so that some travel while others are computed.

A band has whole octets of every bit plane, so that a tensor takes as many bytes in bands as in one message.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...program import AffineOp, AnyOperation, ConvOp, Program, ReluOp, SquareOp, TruncateOp
from ..shared.opened_words import OperationPlan
from .comparison import Comparison, SelectMaterial
from .values import Lifted, PreparedOperation, Values

#: A band has as many rows as make at most so many bands: what is sent last of a tensor is waited for.
MOST_BANDS = 16
#: First row of a band, and the one behind its last.
Rows = tuple[int, int]


def row_bands(shape: tuple[int, ...]) -> tuple[Rows, ...]:
    """The bands of a tensor [C, H, W]; a single one where its rows do not end on octets of planes."""
    if len(shape) != 3:
        return ((0, 1),)
    _, height, width = shape
    step = 8 // math.gcd(8, width)
    rows = step * -(-height // (step * MOST_BANDS))
    bands = tuple((first, min(first + rows, height)) for first in range(0, height, rows))
    return bands if all((end - first) * width % 8 == 0 for first, end in bands) else ((0, height),)


def operation_bands(operation: AnyOperation, plan: OperationPlan, program: Program) -> tuple[Rows, ...]:
    """The bands in which an operation makes its output; a single one where it needs all of its input at once."""
    shape = program.tensor(operation.output).shape
    match operation:
        case ConvOp():
            return _convolved_bands(operation, program)
        case TruncateOp():
            return row_bands(shape)
        case ReluOp() | SquareOp() if not (plan.lifts and plan.wide_forms):  # shares that it makes wide are replaced
            return row_bands(shape)
        case AffineOp() if all(len(values) in (1, shape[0]) for values in (*operation.multipliers, operation.addend)):
            return row_bands(shape)
    return ((0, shape[1] if len(shape) == 3 else 1),)


def _convolved_bands(operation: ConvOp, program: Program) -> tuple[Rows, ...]:
    """Bands of a convolution's output that end up waiting for the same band of its input are one."""
    source = row_bands(program.tensor(operation.inputs[0]).shape)
    joined: dict[int, Rows] = {}
    for first, end in row_bands(program.tensor(operation.output).shape):
        (_, last), _ = rows_read(operation, program, (first, end))
        awaited = sum(begin < last for begin, _ in source)
        joined[awaited] = joined[awaited][0] if awaited in joined else first, end
    return tuple(joined.values())


def rows_read(operation: ConvOp, program: Program, rows: Rows) -> tuple[Rows, Rows]:
    """The input's rows that a convolution reads for some rows of its output; rows of zeros above and below them."""
    height, kernel = program.tensor(operation.inputs[0]).shape[1], program.constants[operation.weight].shape[2]
    first = rows[0] * operation.stride[0] - operation.padding[0]
    end = (rows[1] - 1) * operation.stride[0] - operation.padding[0] + kernel
    inside = max(first, 0), min(end, height)
    return inside, (inside[0] - first, end - inside[1])


@dataclass(frozen=True)
class Cut:
    """Cuts a band out of what belongs to a tensor [C, H, W]."""

    shape: tuple[int, ...]
    rows: Rows

    def tensor(self, words: np.ndarray) -> np.ndarray:
        """[N, C, H, W] -> [N, C, rows, W]."""
        return np.ascontiguousarray(words[:, :, slice(*self.rows)])

    def flat(self, words: np.ndarray) -> np.ndarray:
        """[N, E, ...] -> [N, E of the band, ...]."""
        cut = self.tensor(words.reshape(len(words), *self.shape, *words.shape[2:]))
        return cut.reshape(len(words), -1, *words.shape[2:])

    def planes(self, planes: np.ndarray) -> np.ndarray:
        """[N, ..., P] -> [N, ..., P of the band]."""
        channels, height, width = self.shape
        first, end = (row * width // 8 for row in self.rows)
        octets = planes.reshape(*planes.shape[:-1], channels, height * width // 8)
        return np.ascontiguousarray(octets[..., first:end]).reshape(*planes.shape[:-1], -1)

    def material(self, known: PreparedOperation, comparison: Comparison) -> PreparedOperation:
        """What a party knows of the band before its input, of an elementwise operation."""
        return PreparedOperation(
            mask=None if known.mask is None else self.tensor(known.mask),
            forms=tuple(map(self.tensor, known.forms)),
            squares=tuple(map(self.tensor, known.squares)),
            selects=tuple(self._select(select, comparison) for select in known.selects),
        )

    def _select(self, known: SelectMaterial, comparison: Comparison) -> SelectMaterial:
        return SelectMaterial(
            comparison.cut(known.comparison, self),
            self.planes(known.sign),
            None if known.mask is None else self.flat(known.mask),
            self.flat(known.bit),
            tuple(map(self.flat, known.products)),
        )


class RowsOfWords:
    """The band of every tensor's words; what is put fills the band of whole ones."""

    def __init__(self, whole: dict[str, np.ndarray], program: Program, rows: Rows) -> None:
        self._whole, self._program, self._rows = whole, program, slice(*rows)

    def __getitem__(self, name: str) -> np.ndarray:
        return np.ascontiguousarray(self._whole[name][:, :, self._rows])

    def __setitem__(self, name: str, band: np.ndarray) -> None:
        if name not in self._whole:
            self._whole[name] = np.empty((len(band), *self._program.tensor(name).shape), band.dtype)
        self._whole[name][:, :, self._rows] = band


class RowsOfLifted:
    """The same of lifted values."""

    def __init__(self, whole: dict[str, Lifted], program: Program, rows: Rows) -> None:
        self._whole, self._program, self._rows = whole, program, slice(*rows)

    def __getitem__(self, name: str) -> Lifted:
        whole = self._whole[name]
        return Lifted(np.ascontiguousarray(whole.opened[:, :, self._rows]), whole.lifting)

    def __setitem__(self, name: str, band: Lifted) -> None:
        if name not in self._whole:
            shape = len(band.opened), *self._program.tensor(name).shape
            self._whole[name] = Lifted(np.empty(shape, np.uint32), band.lifting)
        self._whole[name].opened[:, :, self._rows] = band.opened


class RowsOfValues(Values):
    """What a party knows of some rows of the program's values: a view of what it knows of whole ones."""

    def __init__(self, values: Values, program: Program, rows: Rows) -> None:
        self.number, self.postpones = values.number, False
        self.shares = RowsOfWords(values.shares, program, rows)  # type: ignore[assignment]
        self.opened = RowsOfWords(values.opened, program, rows)  # type: ignore[assignment]
        self.lifted = RowsOfLifted(values.lifted, program, rows)  # type: ignore[assignment]
