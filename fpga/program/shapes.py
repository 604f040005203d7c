"""From operations of a program to the operator shapes that protocols price."""

from __future__ import annotations

import numpy as np

from . import (
    AffineOp,
    AnyOperation,
    ConcatOp,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    MulOp,
    PadOp,
    PickOp,
    Program,
    ReluOp,
    ReshapeOp,
    SelectOp,
    SquareOp,
    SumPoolOp,
    TruncateOp,
)
from .operators import Add, Affine, AvgPool, Conv, Linear, MaxPool, Mul, OperatorShape, Relu, Select, Square, Truncate
from .views import view_channel


def spread_coefficients(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An affine operation's multipliers or addend, so that they broadcast over images [N, *shape]."""
    if values.size in (1, shape[0]):
        return values.reshape(-1, *(1,) * (len(shape) - 1))
    return values.reshape(-1, *shape[1:])


def operation_shape(operation: AnyOperation, program: Program) -> OperatorShape:
    """The primitive shape of one operation, for one image.

    Moving words (concat, pad, pick) is priced as an affine operation; a reshape, and a pick of neighbouring channels,
    moves nothing: `Affine(elements=0)`.
    """
    source, result = program.tensor(operation.inputs[0]), program.tensor(operation.output)
    match operation:
        case ConvOp():
            channels, height, width = source.shape
            kernel = program.constants[operation.weight].shape[2:]
            return Conv(
                channels=channels,
                height=height,
                width=width,
                kernel=(kernel[0], kernel[1]),
                stride=operation.stride,
                padding=operation.padding,
                out_channels=result.shape[0],
                groups=operation.groups,
            )
        case LinearOp():
            return Linear(in_features=source.elements, out_features=result.elements)
        case SquareOp():
            return Square(elements=result.elements)
        case MulOp():
            return Mul(elements=result.elements, factors=program.tensor(operation.inputs[1]).elements)
        case ReluOp():
            return Relu(elements=result.elements)
        case SelectOp():
            return Select(elements=result.elements, signs=program.tensor(operation.inputs[1]).elements)
        case MaxPoolOp() | SumPoolOp():
            channels, height, width = source.shape
            pooling = MaxPool if isinstance(operation, MaxPoolOp) else AvgPool
            return pooling(channels, height, width, operation.kernel, operation.stride, operation.padding)
        case TruncateOp():
            return Truncate(elements=result.elements)
        case AffineOp():
            if len(operation.inputs) == 2 and operation.multipliers == ((1,), (1,)):
                return Add(elements=result.elements)
            return Affine(elements=result.elements)
        case ReshapeOp():
            return Affine(elements=0)
        case PickOp() if view_channel(operation, program) is not None:
            return Affine(elements=0)
        case ConcatOp() | PadOp() | PickOp():
            return Affine(elements=result.elements)


def tile_shape(
    operation: AnyOperation, program: Program, channels: tuple[int, int], rows: tuple[int, int]
) -> OperatorShape:
    """The shape of a comparison or MaxPool on a tile of its output alone, given as half-open ranges."""
    result = program.tensor(operation.output)
    width = result.shape[2] if len(result.shape) == 3 else 1
    whole = operation_shape(operation, program)
    if isinstance(operation, SelectOp):
        _, height, width = program.tensor(operation.inputs[1]).shape
        down = -(-rows[1] // operation.patch[0]) - rows[0] // operation.patch[0]
        count = channels[1] - channels[0]
        return Select(count * (rows[1] - rows[0]) * result.shape[2], count * min(down, height) * width)
    if not isinstance(whole, MaxPool):
        return Relu(elements=(channels[1] - channels[0]) * (rows[1] - rows[0]) * width)
    top, left, _, right = whole.padding
    first = rows[0] * whole.stride[0] - top
    end = (rows[1] - 1) * whole.stride[0] - top + whole.kernel[0]
    inside = max(first, 0), min(end, whole.height)
    padding = (inside[0] - first, left, end - inside[1], right)
    return MaxPool(channels[1] - channels[0], inside[1] - inside[0], whole.width, whole.kernel, whole.stride, padding)
