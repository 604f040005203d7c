"""The 31 low bits of a word as digits, in bit planes: one digit of three bits and seven of four, the lowest first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

#: Digits of the 31 low bits, least significant first.
DIGIT_BITS = (3, 4, 4, 4, 4, 4, 4, 4)
CHOICE_PLANES = sum(DIGIT_BITS)  # 31
#: Planes of OT messages: (greater, equal) for the values 1..15 of each digit; the lowest digit needs no `equal`.
MESSAGE_PLANES = (2 ** DIGIT_BITS[0] - 1) + sum(2 * (2**bits - 1) for bits in DIGIT_BITS[1:])  # 217
#: Planes that the dealer corrects for the OT receiver: what it gets of each random OT.
OT_CORRECTION_PLANES = 1 + 2 * (len(DIGIT_BITS) - 1)  # 15

LOW_BITS = sum(DIGIT_BITS)
LOWEST, DIGIT = DIGIT_BITS[0], DIGIT_BITS[1]
DIGITS = len(DIGIT_BITS)
UPPER_DIGITS = DIGITS - 1
LOWEST_ENTRIES, ENTRIES = 1 << LOWEST, 1 << DIGIT
#: "Greater" of the lowest digit; "greater" and "equal" of each other one.
LEAF_PLANES = OT_CORRECTION_PLANES
#: Octets of a plane that are worked on together.
BLOCK_OCTETS = 2048


def split_digits(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """3 + 4U planes -> the lowest digit [N, 1, 3, P] and the upper ones [N, U, 4, P]; U is 7 for a whole word."""
    images, _, octets = planes.shape
    lowest = planes[:, :LOWEST].reshape(images, 1, LOWEST, octets)
    return lowest, planes[:, LOWEST:].reshape(images, -1, DIGIT, octets)


def join_digits(lowest: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Any two blocks of planes side by side: [N, planes, P]."""
    images, octets = lowest.shape[0], lowest.shape[-1]
    return np.concatenate((lowest.reshape(images, -1, octets), upper.reshape(images, -1, octets)), axis=1)


def split_leaves(leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves [N, 1 + 2U, P] -> greater [N, 1 + U, P], equal of the upper digits [N, U, P]."""
    return np.concatenate((leaves[:, :1], leaves[:, 1::2]), axis=1), leaves[:, 2::2]


def plane_blocks(images: int, octets: int) -> Iterator[tuple[slice, slice]]:
    """Images and octets of planes that are worked on together, so that their tables stay in the cache."""
    width = min(octets, BLOCK_OCTETS)
    count = max(1, BLOCK_OCTETS // width)
    for first in range(0, images, count):
        for start in range(0, octets, width):
            yield slice(first, first + count), slice(start, start + width)
