"""Operations that a party does on its share alone: additions, public multiples, and moving words about.

All are linear, so that the shares of the result are the results of the shares; a public addend enters once, at party 0.
"""

from __future__ import annotations

import functools

import numpy as np

from ...program import AffineOp, AnyOperation, ConcatOp, PadOp, PickOp, ReshapeOp, SumPoolOp
from ...program.picks import pick
from ...program.shapes import spread_coefficients

LOCAL_OPERATIONS = (AffineOp, SumPoolOp, ReshapeOp, ConcatOp, PadOp, PickOp)


def evaluate_local(number: int, operation: AnyOperation, inputs: list[np.ndarray]) -> np.ndarray:
    """Party `number`'s share of a local operation's result, [N, *shape] in the words of the inputs.

    Inputs are all uint32, or all uint64: shares modulo 2^64 of the same integers.
    """
    share = inputs[0]
    match operation:
        case AffineOp():
            return _weighted_sum(operation, inputs, addend=number == 0)
        case SumPoolOp():
            return _window_sums(share, operation)
        case ReshapeOp():
            return share.reshape(len(share), -1)
        case ConcatOp():
            return np.concatenate(inputs, axis=1)
        case PadOp():
            top, left, bottom, right = operation.padding
            return np.pad(share, ((0, 0), (0, 0), (top, bottom), (left, right)))
        case PickOp():
            return pick(share, operation.offsets)
    raise ValueError(f"{operation.kind} is not a local operation")


def _weighted_sum(operation: AffineOp, inputs: list[np.ndarray], addend: bool) -> np.ndarray:
    """Factors of one and addends of nothing take no pass over memory."""
    total, own = inputs[0], False
    for place, (multiplier, term) in enumerate(zip(operation.multipliers, inputs, strict=True)):
        scaled = set(multiplier) != {1}
        if scaled:
            term = _coefficients(multiplier, term) * term
        if place == 0:
            total, own = term, scaled
        elif own:
            total += term
        else:
            total, own = total + term, True
    if not addend or not any(operation.addend):
        return total
    return np.add(total, _coefficients(operation.addend, total), out=total if own else None)


def _coefficients(values: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    return spread_coefficients(_ring_words(values, like.dtype), like.shape[1:])


@functools.lru_cache(maxsize=1 << 10)
def _ring_words(values: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """What an operation's coefficients are in words of a kind, made once: few operations, many images."""
    signed = [(value + 2**31) % 2**32 - 2**31 for value in values]
    words = np.array(signed, dtype=np.int64).astype(kind)
    words.flags.writeable = False
    return words


def _window_sums(share: np.ndarray, operation: SumPoolOp) -> np.ndarray:
    """One pass for every tap of the window; a window that is the whole image is one sum."""
    top, left, bottom, right = operation.padding
    if any(operation.padding):
        share = np.pad(share, ((0, 0), (0, 0), (top, bottom), (left, right)))
    images, channels, height, width = share.shape
    if operation.kernel == (height, width):
        return share.reshape(images, channels, -1).sum(axis=2, dtype=share.dtype).reshape(images, channels, 1, 1)
    rows, columns = (
        (size - taps) // step for size, taps, step in zip((height, width), operation.kernel, operation.stride)
    )
    result = np.zeros((images, channels, rows + 1, columns + 1), share.dtype)
    for y, x in np.ndindex(*operation.kernel):
        result += share[:, :, y :: operation.stride[0], x :: operation.stride[1]][:, :, : rows + 1, : columns + 1]
    return result
