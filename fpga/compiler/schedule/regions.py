"""Tiles as regions of tensors: ranges of channels and rows, and what a region of a result reads of an input."""

from __future__ import annotations

import itertools
from typing import NamedTuple, TypeAlias

from ...program import (
    AnyOperation,
    ConcatOp,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    MulOp,
    PadOp,
    PickOp,
    Program,
    SelectOp,
    SumPoolOp,
)
from ...program.picks import picked_region


class Region(NamedTuple):
    """Half-open ranges of channels and rows of a tensor."""

    channels: tuple[int, int]
    rows: tuple[int, int]

    def halves(self) -> list[Region]:
        """Two halves by rows, or by channels where there is one row; none of a single row of a single channel."""
        for rows in (True, False):
            start, end = self.rows if rows else self.channels
            middle = (start + end) // 2
            if start < middle:
                parts = ((start, middle), (middle, end))
                return [Region(self.channels, part) if rows else Region(part, self.rows) for part in parts]
        return []


#: Regions that cover a tensor, each with the job that stores it.
Tiles: TypeAlias = list[tuple[Region, int]]


def overlapping(tiles: Tiles, needed: Region) -> list[int]:
    """The jobs that store some of the region `needed`; none of an empty one."""
    (first, end), (top, bottom) = needed
    if first >= end or top >= bottom:
        return []
    return [
        job
        for ((channel, last), (row, under)), job in tiles
        if row < bottom and top < under and channel < end and first < last
    ]


def split(size: int, parts: int) -> list[tuple[int, int]]:
    """`parts` nearly equal ranges of 0..size."""
    edges = [size * index // parts for index in range(parts + 1)]
    return list(itertools.pairwise(edges))


def channel_count(program: Program, tensor: str) -> int:
    """Channels of an image, features of a flat tensor."""
    return program.tensor(tensor).shape[0]


def row_count(program: Program, tensor: str) -> int:
    """Rows of an image; a flat tensor is one row."""
    shape = program.tensor(tensor).shape
    return shape[1] if len(shape) == 3 else 1


def element_count(program: Program, tensor: str, region: Region) -> int:
    """Elements of a region of a tensor."""
    shape = program.tensor(tensor).shape
    width = shape[2] if len(shape) == 3 else 1
    return (region.channels[1] - region.channels[0]) * (region.rows[1] - region.rows[0]) * width


def needed_of(program: Program, operation: AnyOperation, source: str, region: Region) -> Region:
    """What a region of the operation's result reads of its input `source`."""
    shape = program.tensor(source).shape
    if shape == program.tensor(operation.output).shape and not isinstance(
        operation, ConvOp | LinearOp | MaxPoolOp | SumPoolOp | PickOp
    ):
        return region
    match operation:
        case ConvOp() | MaxPoolOp() | SumPoolOp():
            kernel, step = _kernel_height(operation, program), operation.stride[0]
            top = max(0, region.rows[0] * step - operation.padding[0])
            bottom = min(row_count(program, source), (region.rows[1] - 1) * step - operation.padding[0] + kernel)
            rows = (top, max(top, bottom))
            channels = channel_count(program, operation.output)
            depthwise = isinstance(operation, ConvOp) and operation.groups == shape[0] == channels
            keep = depthwise or not isinstance(operation, ConvOp)
            return Region(region.channels if keep else (0, shape[0]), rows)
        case PadOp(padding=padding):
            top = max(0, region.rows[0] - padding[0])
            return Region(region.channels, (top, max(top, min(shape[1], region.rows[1] - padding[0]))))
        case MulOp():
            whole = program.tensor(operation.output).shape
            band = region.channels if shape[0] == whole[0] else (0, shape[0])
            return Region(band, region.rows if shape[1:2] == whole[1:2] else (0, row_count(program, source)))
        case SelectOp(patch=patch) if source != operation.inputs[0]:
            return Region(region.channels, (region.rows[0] // patch[0], -(-region.rows[1] // patch[0])))
        case PickOp(offsets=offsets):
            return Region(*picked_region(offsets, shape, *region))
        case ConcatOp():
            return Region(_concatenated(program, operation, source, region.channels), region.rows)
    return Region((0, shape[0]), (0, row_count(program, source)))


def _concatenated(program: Program, operation: ConcatOp, source: str, channels: tuple[int, int]) -> tuple[int, int]:
    """The channels of `source` among `channels` of the result; an input that stands there twice is read as a whole."""
    if operation.inputs.count(source) > 1:
        return 0, channel_count(program, source)
    before = operation.inputs[: operation.inputs.index(source)]
    start, size = sum(channel_count(program, name) for name in before), channel_count(program, source)
    first = min(max(channels[0] - start, 0), size)
    return first, max(first, min(channels[1] - start, size))


def _kernel_height(operation: ConvOp | MaxPoolOp | SumPoolOp, program: Program) -> int:
    if isinstance(operation, ConvOp):
        return program.constants[operation.weight].shape[2]
    return operation.kernel[0]
