"""The rules of program.json: shapes, formats and the order of operations, stated again on their own."""

from __future__ import annotations

import itertools
import math

import numpy as np

from rrnet_nni.base.errors import Refusal

from ..ring.geometry import output_size
from . import (
    TRUNCATION_BOUND_BITS,
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
from .patches import patch_grid
from .picks import pick_index
from .revealed import check_revealed

Box = tuple[int, int, int, int]


def check_program(program: Program) -> None:
    """Refuse a program that breaks a rule, naming the operation."""
    defined, names = {program.input}, set()
    if program.input not in program.tensors or program.output not in program.tensors:
        raise Refusal("the program's input or output is not a tensor of it")
    for operation in program.operations:
        if operation.name in names or operation.output in defined:
            raise Refusal(f"operation {operation.name!r} or its output {operation.output!r} is there twice")
        if missing := [name for name in operation.inputs if name not in defined]:
            raise Refusal(f"operation {operation.name!r} reads {missing[0]!r} before it is made")
        if operation.output not in program.tensors:
            raise Refusal(f"operation {operation.name!r} makes {operation.output!r}, which has no shape")
        _check_operation(program, operation)
        names.add(operation.name)
        defined.add(operation.output)
    if program.output not in defined:
        raise Refusal(f"the output {program.output!r} is never made")
    _check_constants(program)
    check_revealed(program)


def _check_constants(program: Program) -> None:
    taken = sorted(
        (entry.offset, entry.offset + 4 * math.prod(entry.shape), name) for name, entry in program.constants.items()
    )
    for (_, end, name), (start, _, other) in itertools.pairwise(taken):
        if start < end:
            raise Refusal(f"constants {name!r} and {other!r} share bytes")


def _check_operation(program: Program, operation: AnyOperation) -> None:
    sources = [program.tensor(name) for name in operation.inputs]
    result = program.tensor(operation.output)
    shape, bits = _expected(program, operation)
    if result.shape != shape:
        raise Refusal(
            f"operation {operation.name!r}: {operation.output!r} is {list(result.shape)}, expected {list(shape)}"
        )
    if result.fraction_bits != bits:
        raise Refusal(
            f"operation {operation.name!r}: {operation.output!r} has {result.fraction_bits} fraction bits, "
            f"expected {bits}"
        )
    if isinstance(operation, AffineOp):
        allowed = (1, shape[0], math.prod(shape[1:]), math.prod(shape))
        if len(operation.multipliers) != len(sources) or any(
            len(values) not in allowed for values in (*operation.multipliers, operation.addend)
        ):
            raise Refusal(f"operation {operation.name!r}: its multipliers do not fit its inputs")


def _expected(program: Program, operation: AnyOperation) -> tuple[tuple[int, ...], int]:
    """Shape and fraction bits of the output, from the inputs."""
    source = program.tensor(operation.inputs[0])
    shape, bits = source.shape, source.fraction_bits
    match operation:
        case ConvOp() | LinearOp():
            return _expected_product(program, operation)
        case MaxPoolOp() | SumPoolOp() | PadOp() if len(shape) != 3:
            raise Refusal(f"operation {operation.name!r} slides over {operation.inputs[0]!r}, which is no image")
        case MaxPoolOp() | SumPoolOp():
            size = _slid(shape, operation.kernel, operation.stride, operation.padding)
            declared = program.tensor(operation.output).fraction_bits
            return (shape[0], *size), bits if isinstance(operation, MaxPoolOp) else max(bits, declared)
        case SquareOp():
            return shape, 2 * bits
        case MulOp():
            return shape, bits + _factor_bits(program, operation)
        case ReluOp():
            return shape, bits
        case SelectOp():
            grid = patch_grid(shape, operation.patch) if len(shape) == 3 else None
            if len(sources := operation.inputs) != 2 or program.tensor(sources[1]).shape != grid:
                raise Refusal(f"operation {operation.name!r}: it has not one sign for every patch of its input")
            return shape, bits
        case TruncateOp():
            if not 1 <= operation.bits <= TRUNCATION_BOUND_BITS:
                raise Refusal(f"operation {operation.name!r} truncates {operation.bits} bits")
            return shape, bits - operation.bits
        case ReshapeOp():
            return (math.prod(shape),), bits
        case PadOp(padding=(top, left, bottom, right)):
            return (shape[0], shape[1] + top + bottom, shape[2] + left + right), bits
        case PickOp(offsets=offsets):
            index = pick_index(offsets) if len(offsets) in (1, 3) and all(offsets) else np.array(-2)
            if not -1 <= index.min() <= index.max() < math.prod(shape):
                raise Refusal(f"operation {operation.name!r} picks words that {operation.inputs[0]!r} does not have")
            return index.shape, bits
        case ConcatOp():
            tensors = [program.tensor(name) for name in operation.inputs]
            if any(tensor.fraction_bits != bits or tensor.shape[1:] != shape[1:] for tensor in tensors):
                raise Refusal(f"operation {operation.name!r} joins tensors of different formats or sizes")
            return (sum(tensor.shape[0] for tensor in tensors), *shape[1:]), bits
        case AffineOp():
            if any(program.tensor(name).shape != shape for name in operation.inputs):
                raise Refusal(f"operation {operation.name!r} adds tensors of different shapes")
            return shape, program.tensor(operation.output).fraction_bits
    raise Refusal(f"operation {operation.name!r} is of an unknown kind")


def _factor_bits(program: Program, operation: MulOp) -> int:
    """Fraction bits of the second factor, whose shape must fit the first one's."""
    if len(operation.inputs) != 2:
        raise Refusal(f"operation {operation.name!r} multiplies {len(operation.inputs)} tensors, expected 2")
    first, second = (program.tensor(name) for name in operation.inputs)
    fits = len(first.shape) == len(second.shape) and all(
        size in (1, whole) for size, whole in zip(second.shape, first.shape)
    )
    if not fits:
        raise Refusal(f"operation {operation.name!r}: its second factor does not fit its first")
    return second.fraction_bits


def _expected_product(program: Program, operation: ConvOp | LinearOp) -> tuple[tuple[int, ...], int]:
    source = program.tensor(operation.inputs[0])
    constants = [name for name in (operation.weight, operation.bias) if name is not None]
    if missing := [name for name in constants if name not in program.constants]:
        raise Refusal(f"operation {operation.name!r} reads the constant {missing[0]!r}, which is not there")
    weight = program.constants[operation.weight]
    bits = source.fraction_bits + weight.fraction_bits
    if operation.bias is not None:
        bias = program.constants[operation.bias]
        if bias.shape != weight.shape[:1] or bias.fraction_bits != bits:
            raise Refusal(f"operation {operation.name!r}: the shape or format of its bias does not fit")
    if isinstance(operation, LinearOp):
        if weight.shape[1:] != source.shape:
            raise Refusal(f"operation {operation.name!r}: its weight does not fit its input")
        return weight.shape[:1], bits
    if (
        len(source.shape) != 3
        or len(weight.shape) != 4
        or weight.shape[1] * operation.groups != source.shape[0]
        or weight.shape[0] % operation.groups
    ):
        raise Refusal(f"operation {operation.name!r}: its weight does not fit its input")
    kernel = (weight.shape[2], weight.shape[3])
    return (weight.shape[0], *_slid(source.shape, kernel, operation.stride, operation.padding)), bits


def _slid(
    shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int]
) -> tuple[int, int]:
    return (
        output_size(shape[1], kernel[0], stride[0], padding[0], padding[2]),
        output_size(shape[2], kernel[1], stride[1], padding[1], padding[3]),
    )


def needed_region(operation: AnyOperation, program: Program, source: str, box: Box) -> Box:
    """Channels and rows of `source` that the tile `box` of the output reads."""
    shape = program.tensor(source).shape
    rows = shape[1] if len(shape) == 3 else 1
    first, end = box[2], box[3]
    match operation:
        case ConvOp():
            height = program.constants[operation.weight].shape[2]
            reach = _reach(first, end, height, operation.stride[0], operation.padding[0], rows)
            outputs = program.tensor(operation.output).shape[0] // operation.groups
            inputs = shape[0] // operation.groups
            return (box[0] // outputs * inputs, -(-box[1] // outputs) * inputs, *reach)
        case MaxPoolOp() | SumPoolOp():
            reach = _reach(first, end, operation.kernel[0], operation.stride[0], operation.padding[0], rows)
            return (box[0], box[1], *reach)
        case PadOp(padding=padding):
            return (box[0], box[1], max(0, first - padding[0]), min(rows, end - padding[0]))
        case ConcatOp():
            if operation.inputs.count(source) > 1:
                return (0, shape[0], first, end)
            before = operation.inputs[: operation.inputs.index(source)]
            start = sum(program.tensor(name).shape[0] for name in before)
            return (max(0, box[0] - start), min(shape[0], box[1] - start), first, end)
        case LinearOp() | ReshapeOp():
            return (0, shape[0], 0, rows)
        case MulOp():
            whole = program.tensor(operation.output).shape
            channels = (box[0], box[1]) if shape[0] == whole[0] else (0, shape[0])
            return (*channels, first, end) if len(shape) == 1 or shape[1] == whole[1] else (*channels, 0, rows)
        case SelectOp() if source != operation.inputs[0]:
            return (box[0], box[1], first // operation.patch[0], -(-end // operation.patch[0]))
        case PickOp(offsets=offsets):
            return _picked(offsets, shape, box)
    return box


def _picked(offsets: tuple[tuple[int, ...], ...], source: tuple[int, ...], box: Box) -> Box:
    """The smallest box that holds all words which a tile of a pick copies."""
    image = len(offsets) == 3
    index = pick_index((offsets[0][box[0] : box[1]], offsets[1][box[2] : box[3]], offsets[2]) if image
                       else (offsets[0][box[0] : box[1]],))  # fmt: skip
    words = index[index >= 0]
    if not words.size:
        return (0, 0, 0, 0)
    places = np.unravel_index(words, source)
    rows = (int(places[1].min()), int(places[1].max()) + 1) if len(source) == 3 else (0, 1)
    return (int(places[0].min()), int(places[0].max()) + 1, *rows)


def _reach(first: int, end: int, kernel: int, stride: int, pad: int, rows: int) -> tuple[int, int]:
    return max(0, first * stride - pad), min(rows, (end - 1) * stride - pad + kernel)
