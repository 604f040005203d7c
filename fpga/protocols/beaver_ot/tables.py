"""A party's steps between two messages: the transfers' tables in bit planes, multiplexer and truncation on words.

In C where that can be compiled, else in NumPy. Both make the same octets, which the compiled one shows beforehand.
`RRNET_RING_BACKEND=limbs` asks for NumPy.
"""

from __future__ import annotations

import ctypes
import functools
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from ...native.backend import choose
from ...native.library import address, build_library, load_library
from ...native.threads import run_parts
from ...program import TRUNCATION_BOUND_BITS
from ..shared.bit_planes import (
    PLANES_SIGNATURE,
    compiled_planes,
    exchange_entries,
    indicators,
    plane_words,
    select,
    word_planes,
)
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

    def word_planes(self, words: np.ndarray, bits: int) -> np.ndarray:
        """As `bit_planes.word_planes`."""
        return word_planes(words, bits)

    def sign_plane(self, words: np.ndarray) -> np.ndarray:
        """The top bits of words [N, E], a plane [N, P]."""
        return np.packbits((words >> np.uint32(31)).astype(np.uint8), axis=-1)

    def multiplex_message(self, x: np.ndarray, step: np.ndarray, own: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """x(1 − 2b) + Δ(2a − 1), uint32 [N, E], of a party's bits b and those that it is asked for, planes [N, P]."""
        b, a = (plane_words(plane, x.shape[1]) for plane in (own, asked))
        return x * (np.uint32(1) - b - b) + step * (a + a - np.uint32(1))

    def multiplex_result(
        self,
        x: np.ndarray,
        masks: tuple[np.ndarray, np.ndarray, np.ndarray],
        own: np.ndarray,
        asked: np.ndarray,
        answer: np.ndarray,
    ) -> np.ndarray:
        """xb − (R + aΔ) + R' + b·answer for masks (Δ, R, R'); `answer` may be overwritten."""
        step, base, received = masks
        b, a = (plane_words(plane, x.shape[1]) for plane in (own, asked))
        return b * (x + answer) - base - a * step + received

    def truncate(self, number: int, opened: np.ndarray, shifted: np.ndarray, top: np.ndarray, bits: int) -> np.ndarray:
        """A share of z >> bits from M = z + 2^30 + r, opened, and from shares of r >> bits and of r's top bit."""
        may_wrap = (opened >> np.uint32(31)) ^ np.uint32(1)
        result = may_wrap * (top << np.uint32(32 - bits)) - shifted
        if number == 0:
            result += (opened >> np.uint32(bits)) - np.uint32(1 << (TRUNCATION_BOUND_BITS - bits))
        return result

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
                "word_planes": PLANES_SIGNATURE,
                "multiplex_message": (None, [*(pointer,) * 4, size, size, pointer]),
                "multiplex_result": (None, [*(pointer,) * 6, size, size, pointer]),
                "truncate_opened": (None, [*(pointer,) * 3, size, ctypes.c_int, ctypes.c_int, pointer]),
            },
        )

    def answer(self, masks: np.ndarray, choices: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = [np.ascontiguousarray(planes) for planes in (masks, choices, thresholds)]
        images, _, octets = choices.shape
        messages = np.empty((images, MESSAGE_PLANES, octets), np.uint8)
        leaves = np.empty((images, LEAF_PLANES, octets), np.uint8)

        def part(first: int, end: int) -> None:
            made = address(messages[first:end]), address(leaves[first:end])
            self._library.ot_answer(*(address(planes[first:end]) for planes in given), end - first, octets, *made)

        run_parts(part, images)
        return messages, leaves

    def word_planes(self, words: np.ndarray, bits: int) -> np.ndarray:
        return compiled_planes(self._library, words, 0, bits)

    def sign_plane(self, words: np.ndarray) -> np.ndarray:
        return compiled_planes(self._library, words, 31, 32)[:, 0]

    def multiplex_message(self, x: np.ndarray, step: np.ndarray, own: np.ndarray, asked: np.ndarray) -> np.ndarray:
        message = np.empty(x.shape, np.uint32)

        def part(first: int, end: int) -> None:
            given = (address(each[first:end]) for each in (x, step, own, asked))
            self._library.multiplex_message(*given, end - first, x.shape[1], address(message[first:end]))

        run_parts(part, len(x))
        return message

    def multiplex_result(
        self,
        x: np.ndarray,
        masks: tuple[np.ndarray, np.ndarray, np.ndarray],
        own: np.ndarray,
        asked: np.ndarray,
        answer: np.ndarray,
    ) -> np.ndarray:

        def part(first: int, end: int) -> None:
            given = (address(each[first:end]) for each in (x, *masks, own, asked))
            self._library.multiplex_result(*given, end - first, x.shape[1], address(answer[first:end]))

        run_parts(part, len(x))
        return answer

    def truncate(self, number: int, opened: np.ndarray, shifted: np.ndarray, top: np.ndarray, bits: int) -> np.ndarray:
        result = np.empty(opened.shape, np.uint32)

        def part(first: int, end: int) -> None:
            given = (address(each[first:end]) for each in (opened, shifted, top))
            count = (end - first) * opened[0].size
            self._library.truncate_opened(*given, count, bits, int(number == 0), address(result[first:end]))

        run_parts(part, len(opened))
        return result

    def choose(self, messages: np.ndarray, own: np.ndarray) -> np.ndarray:
        messages, own = np.ascontiguousarray(messages), np.ascontiguousarray(own)
        images, _, octets = messages.shape
        chosen = np.empty((images, LEAF_PLANES, octets), np.uint8)

        def part(first: int, end: int) -> None:
            given = address(messages[first:end]), address(own[first:end])
            self._library.ot_choose(*given, end - first, octets, address(chosen[first:end]))

        run_parts(part, images)
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
    words = [generator.integers(0, 2**32, (2, 613), np.uint32) for _ in range(5)]
    bits = own[:, 0].copy(), own[:, 1].copy()
    steps: list[tuple[str, tuple[Any, ...]]] = [("word_planes", (words[0], 31)), ("sign_plane", (words[0],))]
    steps.append(("multiplex_message", (*words[:2], *bits)))
    steps.append(("multiplex_result", (words[0], tuple(words[1:4]), *bits, words[4])))
    steps += [("truncate", (number, *words[:3], 9)) for number in (0, 1)]
    done = [(getattr(compiled, name)(*deepcopy(given)), getattr(plain, name)(*given)) for name, given in steps]
    return all(np.array_equal(one, other) for one, other in (*answers, chosen, *done))
