"""The fixed-point reference interpreter: the meaning of a two-party program.

It computes on plain words what the two parties compute on shares. Linear operations are exact modulo 2**32; the only
randomness is the mask of each truncation, so that with the parties' masks the result is theirs bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeAlias, overload

import numpy as np

from rrnet_nni.base.errors import Refusal

from ..ring import ring_conv2d, ring_matmul
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
from .patches import patch_index
from .picks import pick
from .shapes import spread_coefficients

Words: TypeAlias = np.ndarray
#: Masks of truncations for the fixed-point reference: by operation's name, or asked for with every operation in program
#: order and the words of its inputs (None where the operation is no truncation).
TruncationMasks: TypeAlias = Mapping[str, np.ndarray] | Callable[[AnyOperation, list[np.ndarray]], np.ndarray | None]
INT32_MIN = np.iinfo(np.int32).min


@overload
def run_reference(
    program: Program,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    truncation_masks: TruncationMasks | None = None,
    *,
    seed: int = 0,
    tensors: Literal[False] = False,
) -> np.ndarray: ...


@overload
def run_reference(
    program: Program,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    truncation_masks: TruncationMasks | None = None,
    *,
    seed: int = 0,
    tensors: Literal[True],
) -> tuple[np.ndarray, dict[str, np.ndarray]]: ...


def run_reference(
    program: Program,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    truncation_masks: TruncationMasks | None = None,
    *,
    seed: int = 0,
    tensors: bool = False,
) -> np.ndarray | tuple[np.ndarray, dict[str, np.ndarray]]:
    """Run `program` on a batch of images.

    Args:
        program: the two-party program.
        weights: int32 words of every constant, by name.
        images: [N, *input shape]; floating point images are encoded, integer arrays are taken as ring words.
        truncation_masks: the masks of truncations (`truncate_words`), as an execution gives them. Operations without
            one (and all, without it) use masks drawn from `seed`.
        seed: of the masks that are drawn here.
        tensors: also return every tensor as signed words.

    Returns:
        logits as float64 [N, *output shape]; with `tensors`, also {tensor name: int32 [N, *shape]}.

    Raises:
        Refusal: the images do not have the program's input shape.
    """
    kept: dict[str, np.ndarray] = {}
    logits = np.empty(0)
    for name, words in walk_reference(program, weights, images, truncation_masks, seed=seed):
        if tensors:
            kept[name] = words.view(np.int32)
        if name == program.output:
            logits = decode(words, program.tensor(name).fraction_bits)
    return (logits, kept) if tensors else logits


def walk_reference(
    program: Program,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    truncation_masks: TruncationMasks | None = None,
    *,
    seed: int = 0,
) -> Iterator[tuple[str, Words]]:
    """Every tensor (name, uint32 [N, *shape]) in the program's order; each is forgotten after its last use."""
    generator = np.random.default_rng(seed)
    last_use = {name: index for index, operation in enumerate(program.operations) for name in operation.inputs}
    values: dict[str, Words] = {program.input: encode_images(program, images)}
    yield program.input, values[program.input]
    for index, operation in enumerate(program.operations):
        inputs = [values[name] for name in operation.inputs]
        given = _given_mask(truncation_masks, operation, inputs)
        if isinstance(operation, TruncateOp):
            mask = generator.integers(0, 2**32, inputs[0].shape, dtype=np.uint32) if given is None else given
            values[operation.output] = truncate_words(inputs[0], operation.bits, mask)
        else:
            values[operation.output] = evaluate(operation, inputs, weights)
        yield operation.output, values[operation.output]
        for name in operation.inputs:
            if last_use[name] == index:
                values.pop(name, None)


def _given_mask(masks: TruncationMasks | None, operation: AnyOperation, inputs: list[Words]) -> np.ndarray | None:
    if masks is None:
        return None
    return masks(operation, inputs) if callable(masks) else masks.get(operation.name)


def encode_images(program: Program, images: np.ndarray) -> Words:
    """Images [N, *shape] as uint32 words: floats become round(x * 2**f), integers are words already."""
    expected = program.tensor(program.input)
    images = np.asarray(images)
    if images.shape[1:] != expected.shape:
        wanted = ", ".join(map(str, ("N", *expected.shape)))
        raise Refusal(f"input {program.input!r} has the shape {list(images.shape)}, expected [{wanted}]")
    return encode(images, expected.fraction_bits) if images.dtype.kind == "f" else images.astype(np.uint32)


def encode(values: np.ndarray, fraction_bits: int) -> Words:
    """round(x * 2**f) modulo 2**32 as uint32, of any finite float64 array."""
    return np.rint(np.ldexp(np.asarray(values, dtype=np.float64), fraction_bits)).astype(np.int64).astype(np.uint32)


def decode(words: Words, fraction_bits: int) -> np.ndarray:
    """Signed words back to float64."""
    return words.view(np.int32) * np.ldexp(1.0, -fraction_bits)


def decode_tensor(program: Program, name: str, words: Words) -> np.ndarray:
    """Words [N, *shape] of a tensor as the model's own numbers: without fraction bits and without its scale."""
    tensor = program.tensor(name)
    scale = np.array(tensor.scale).reshape(-1, *(1,) * (len(tensor.shape) - 1))
    return decode(words, tensor.fraction_bits) / scale


def truncate_words(value: Words, bits: int, mask: np.ndarray) -> Words:
    """Probabilistic truncation: floor(z / 2**bits) or one more, as a mask decides.

    Args:
        value: uint32 words z.
        bits: fraction bits to drop, 1 to 30.
        mask: uniform, of the shape of `value`. uint32 r: z + 2**30 + r is opened on 32 bits, which needs |z| < 2**30.
            uint64 m: z + m and m are the two shares of the integer z on 64 bits, and each drops its low bits.
    """
    if mask.dtype == np.uint64:
        shift, integers = np.uint64(bits), value.view(np.int32).astype(np.int64).view(np.uint64)
        return (((integers + mask) >> shift) - (mask >> shift)).astype(np.uint32)
    mask = np.asarray(mask, dtype=np.uint32)
    opened = value + np.uint32(1 << TRUNCATION_BOUND_BITS)
    opened += mask
    lifted = mask & ~opened  # its sign says that the sum passed 2**32
    lifted >>= np.uint32(31)
    lifted <<= np.uint32(32 - bits)
    opened >>= np.uint32(bits)
    opened -= mask >> np.uint32(bits)
    opened += lifted
    opened -= np.uint32(1 << (TRUNCATION_BOUND_BITS - bits))
    return opened


def evaluate(operation: AnyOperation, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    """One operation other than a truncation, on words [N, *shape]."""
    return _EVALUATE[type(operation)](operation, inputs, weights)


def _constant(weights: Mapping[str, np.ndarray], name: str) -> Words:
    return np.ascontiguousarray(weights[name]).view(np.uint32)


def _conv(operation: ConvOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    weight = _constant(weights, operation.weight)
    result = ring_conv2d(inputs[0], weight, operation.stride, operation.padding, operation.groups)
    return result if operation.bias is None else result + _constant(weights, operation.bias)[:, None, None]


def _linear(operation: LinearOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    result = ring_matmul(inputs[0], _constant(weights, operation.weight))
    return result if operation.bias is None else result + _constant(weights, operation.bias)


def _affine(operation: AffineOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    def spread(values: tuple[int, ...]) -> Words:
        words = np.array([value % 2**32 for value in values], dtype=np.uint32)
        return spread_coefficients(words, inputs[0].shape[1:])

    total = np.broadcast_to(spread(operation.addend), inputs[0].shape).copy()
    for value, multiplier in zip(inputs, operation.multipliers, strict=True):
        total += value * spread(multiplier)
    return total


def _relu(operation: ReluOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    return np.maximum(inputs[0].view(np.int32), 0).view(np.uint32)


def _select(operation: SelectOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    flat, signs = (words.reshape(len(words), -1) for words in inputs)
    positive = signs.view(np.int32)[:, patch_index(inputs[0].shape[1:], operation.patch)] > 0
    return np.where(positive, flat, np.uint32(0)).reshape(inputs[0].shape)


def _windows(operation: MaxPoolOp | SumPoolOp, value: Words, outside: int) -> list[Words]:
    """One strided view per position in the window."""
    top, left, bottom, right = operation.padding
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=outside)
    (kernel_height, kernel_width), (step_down, step_right) = operation.kernel, operation.stride
    height = (padded.shape[2] - kernel_height) // step_down + 1
    width = (padded.shape[3] - kernel_width) // step_right + 1
    return [
        padded[
            :, :, i : i + (height - 1) * step_down + 1 : step_down, j : j + (width - 1) * step_right + 1 : step_right
        ]
        for i in range(kernel_height)
        for j in range(kernel_width)
    ]


def _maxpool(operation: MaxPoolOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    windows = _windows(operation, inputs[0].view(np.int32), INT32_MIN)
    return np.maximum.reduce(windows).view(np.uint32)


def _sumpool(operation: SumPoolOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    total = np.zeros_like(_windows(operation, inputs[0], 0)[0])
    for window in _windows(operation, inputs[0], 0):
        total += window
    return total


def _square(operation: SquareOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    return inputs[0] * inputs[0]


def _mul(operation: MulOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    return inputs[0] * inputs[1]


def _reshape(operation: ReshapeOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    return inputs[0].reshape(inputs[0].shape[0], -1)


def _concat(operation: ConcatOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    return np.concatenate(inputs, axis=1)


def _pad(operation: PadOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    top, left, bottom, right = operation.padding
    return np.pad(inputs[0], ((0, 0), (0, 0), (top, bottom), (left, right)))


def _pick(operation: PickOp, inputs: list[Words], weights: Mapping[str, np.ndarray]) -> Words:
    return pick(inputs[0], operation.offsets)


_EVALUATE: dict[type, Callable[..., Words]] = {
    ConvOp: _conv,
    LinearOp: _linear,
    SquareOp: _square,
    MulOp: _mul,
    AffineOp: _affine,
    ReluOp: _relu,
    SelectOp: _select,
    MaxPoolOp: _maxpool,
    SumPoolOp: _sumpool,
    ReshapeOp: _reshape,
    ConcatOp: _concat,
    PadOp: _pad,
    PickOp: _pick,
}
