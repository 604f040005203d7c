"""Tables of the oblivious transfers behind a comparison: the sender's answer and the receiver's choice, in bit planes.

In C where that can be compiled, else in NumPy. Both make the same octets, which the compiled one shows beforehand.
RRNET_RING_BACKEND chooses as it does for ring products: any other than `compiled` means NumPy.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np

from ...native.backend import choose
from ...native.library import build_library, load_library
from ..shared.bit_planes import exchange_entries, indicators, select
from ..shared.digit_planes import (
    CHOICE_PLANES,
    ENTRIES,
    LEAF_PLANES,
    LOWEST_ENTRIES,
    MESSAGE_PLANES,
    UPPER_DIGITS,
    join_digits,
    plane_blocks,
    split_digits,
)

#: Masks of the random OTs, per element: one bit per value of the lowest digit, two per value of the others.
OT_MASK_PLANES = LOWEST_ENTRIES + UPPER_DIGITS * ENTRIES * 2
_SOURCE = Path(__file__).with_name("tables.c")


class NumpyTables:
    """The tables in NumPy."""

    name = "numpy"

    def answer(self, masks: np.ndarray, choices: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sender's messages [N, 217, P] to the masked choices, and its own leaves [N, 15, P].

        Per value v of a digit the receiver is to learn [v > threshold] and [v = threshold]; the sender's share absorbs
        the message of value 0.

        Args:
            masks: of the random OTs, planes [N, 232, P].
            choices: the receiver's masked digits, [N, 31, P].
            thresholds: the sender's digits, [N, 31, P].
        """
        images, _, octets = choices.shape
        messages = np.empty((images, MESSAGE_PLANES, octets), np.uint8)
        leaves = np.empty((images, LEAF_PLANES, octets), np.uint8)
        for rows, columns in plane_blocks(images, octets):
            block = rows, slice(None), columns
            messages[block], leaves[block] = _answer(masks[block], choices[block], thresholds[block])
        return messages, leaves

    def choose(self, messages: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The receiver's entries [N, 15, P] of the messages, as its digits [N, 31, P] say; value 0 has no message."""
        images, _, octets = messages.shape
        chosen = np.empty((images, LEAF_PLANES, octets), np.uint8)
        for rows, columns in plane_blocks(images, octets):
            block = rows, slice(None), columns
            chosen[block] = _choose(messages[block], own[block])
        return chosen


def ot_masks(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sender's masks: [N, 1, 8, 1, P] for the lowest digit, [N, 7, 16, 2, P] for the others."""
    images, _, octets = planes.shape
    lowest = planes[:, :LOWEST_ENTRIES].reshape(images, 1, LOWEST_ENTRIES, 1, octets)
    return lowest, planes[:, LOWEST_ENTRIES:].reshape(images, UPPER_DIGITS, ENTRIES, 2, octets)


def _comparison_table(threshold: np.ndarray) -> np.ndarray:
    """For each value v of a digit: [v > threshold] and [v = threshold]; [N, D, m, P] -> [N, D, 2^m, 2, P]."""
    equal = indicators(threshold)
    greater = np.zeros_like(equal)
    for value in range(1, equal.shape[2]):
        np.bitwise_xor(greater[:, :, value - 1], equal[:, :, value - 1], out=greater[:, :, value])
    return np.stack((greater, equal), axis=3)


def _answer(masks: np.ndarray, choices: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own, messages = [], []
    for mask, choice, threshold in zip(ot_masks(masks), split_digits(choices), split_digits(thresholds)):
        table = _comparison_table(threshold)[:, :, :, : mask.shape[3]] ^ exchange_entries(mask, choice)
        own.append(table[:, :, 0])
        messages.append(table[:, :, 1:] ^ table[:, :, :1])
    return join_digits(*messages), join_digits(*own)


def _choose(messages: np.ndarray, own: np.ndarray) -> np.ndarray:
    images, _, octets = messages.shape
    lowest = messages[:, : LOWEST_ENTRIES - 1].reshape(images, 1, -1, 1, octets)
    upper = messages[:, LOWEST_ENTRIES - 1 :].reshape(images, UPPER_DIGITS, -1, 2, octets)
    chosen = []
    for table, digits in zip((lowest, upper), split_digits(own)):
        chosen.append(select(np.concatenate((np.zeros_like(table[:, :, :1]), table), axis=2), digits))
    return join_digits(*chosen)


class CompiledTables(NumpyTables):
    """The same in C; raises `CompilationUnavailable` where it cannot be built."""

    name = "compiled"

    def __init__(self) -> None:
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        self._library = load_library(
            build_library(_SOURCE),
            {
                "ot_answer": (None, [*(pointer,) * 3, size, size, pointer, pointer]),
                "ot_choose": (None, [pointer, pointer, size, size, pointer]),
            },
        )

    def answer(self, masks: np.ndarray, choices: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = [np.ascontiguousarray(planes) for planes in (masks, choices, thresholds)]
        images, _, octets = choices.shape
        messages = np.empty((images, MESSAGE_PLANES, octets), np.uint8)
        leaves = np.empty((images, LEAF_PLANES, octets), np.uint8)
        addresses = (planes.ctypes.data for planes in given)
        self._library.ot_answer(*addresses, images, octets, messages.ctypes.data, leaves.ctypes.data)
        return messages, leaves

    def choose(self, messages: np.ndarray, own: np.ndarray) -> np.ndarray:
        messages, own = np.ascontiguousarray(messages), np.ascontiguousarray(own)
        images, _, octets = messages.shape
        chosen = np.empty((images, LEAF_PLANES, octets), np.uint8)
        self._library.ot_choose(messages.ctypes.data, own.ctypes.data, images, octets, chosen.ctypes.data)
        return chosen


@functools.cache
def tables() -> NumpyTables:
    """The backend of this process."""
    return choose(CompiledTables, NumpyTables, agrees_with_numpy)


def agrees_with_numpy(compiled: NumpyTables) -> bool:
    """Whether a backend makes the same octets as NumPy, on planes that fill no block."""
    plain, generator = NumpyTables(), np.random.default_rng(0)

    def planes(count: int) -> np.ndarray:
        return generator.integers(0, 256, (2, count, 77), np.uint8)

    given = planes(OT_MASK_PLANES), planes(CHOICE_PLANES), planes(CHOICE_PLANES)
    answers = zip(compiled.answer(*given), plain.answer(*given))
    messages, own = planes(MESSAGE_PLANES), planes(CHOICE_PLANES)
    chosen = compiled.choose(messages, own), plain.choose(messages, own)
    return all(np.array_equal(one, other) for one, other in (*answers, chosen))
