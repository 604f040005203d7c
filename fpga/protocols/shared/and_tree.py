"""The AND tree that joins the leaves of a comparison: its shape, its material, the parties' and the dealer's parts."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from ..material import Corrections, CorrectionWriter, RandomSource
from ..party import Channel
from .digit_planes import DIGIT_BITS, DIGITS

#: Per round of ANDs: planes that are opened, and products that are dealt.
Levels: TypeAlias = tuple[tuple[int, int], ...]


def and_tree(digits: int) -> Levels:
    """Per level of the AND tree that joins the digits' leaves: planes that are opened, and gates.

    A pair of leaves opens (equal_hi, greater_lo, equal_lo), the lowest pair of a level no `equal_lo`; an odd leaf, the
    highest, goes on to the next level.
    """
    levels = []
    while digits > 1:
        pairs = digits // 2
        levels.append((3 * pairs - 1, 2 * pairs - 1))
        digits -= pairs
    return tuple(levels)


_WHOLE = and_tree(len(DIGIT_BITS))
AND_OPENED_PLANES, AND_GATES = zip(*_WHOLE)  # (11, 5, 2) and (7, 3, 1)


#: Per level of the tree: this party's masks and its shares of their products, planes.
BitTriples = list[tuple[np.ndarray, np.ndarray]]


def draw_bit_triples(
    number: int, octets: int, source: RandomSource, dealt: Corrections, levels: Levels = _WHOLE
) -> BitTriples:
    """This party's material for the levels of an AND tree, or of a chain."""
    triples = []
    for opened_planes, gates in levels:
        masks = source.planes(opened_planes, octets)
        triples.append((masks, source.planes(gates, octets) if number == 0 else dealt.planes(gates, octets)))
    return triples


def join_leaves(
    number: int, channel: Channel, greater: np.ndarray, equal: np.ndarray, triples: BitTriples
) -> np.ndarray:
    """Levels of AND: greater = greater_hi ⊕ equal_hi ∧ greater_lo, equal = equal_hi ∧ equal_lo. Share [N, P].

    `greater` [N, D, P] has all digits, the least significant first, `equal` [N, D - 1, P] all but that one.
    """
    for masks, products in triples:
        pairs = greater.shape[1] // 2
        paired = 2 * pairs
        values = np.concatenate((equal[:, :paired:2], greater[:, :paired:2], equal[:, 1 : paired - 1 : 2]), axis=1)
        mine = values ^ masks
        opened = mine ^ channel.exchange(mine, mine.nbytes).reshape(mine.shape)
        first = np.concatenate((opened[:, :pairs], opened[:, 1:pairs]), axis=1)  # equal_hi, for both products
        first_mask = np.concatenate((masks[:, :pairs], masks[:, 1:pairs]), axis=1)
        second, second_mask = opened[:, pairs:], masks[:, pairs:]
        result = products ^ (first & second_mask) ^ (second & first_mask)
        if number == 0:
            result ^= first & second
        greater = np.concatenate((greater[:, 1:paired:2] ^ result[:, :pairs], greater[:, paired:]), axis=1)
        equal = np.concatenate((result[:, pairs:], equal[:, paired - 1 :]), axis=1)
    return greater[:, 0]


def deal_bit_triples(
    octets: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter, digits: int = DIGITS
) -> None:
    """Party 1's products; one factor serves both products of a pair."""
    for opened_planes, gates in and_tree(digits):
        pairs = (gates + 1) // 2
        masks = sources[0].planes(opened_planes, octets) ^ sources[1].planes(opened_planes, octets)
        first = np.concatenate((masks[:, :pairs], masks[:, 1:pairs]), axis=1)
        writer.put((first & masks[:, pairs:]) ^ sources[0].planes(gates, octets))
