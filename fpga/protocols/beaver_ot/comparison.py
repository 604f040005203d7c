"""Comparison by oblivious transfer: the sign of a shared word, and max(x, 0) from it.

x = x_0 + x_1 is negative as the exclusive or of the shares' top bits and the carry of their 31 low bits says. The carry
is `x_1 > 2^31 − 1 − x_0` on the low bits, a millionaires' comparison (CrypTFlow2): party 0 is the OT sender with the
threshold, party 1 the receiver whose digits choose. All bits are handled in planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...program import Program, SelectOp
from ...program.patches import patch_index
from ..material import Corrections, CorrectionWriter, RandomSource
from ..party import Channel
from ..shared.and_tree import AND_GATES, AND_OPENED_PLANES, deal_bit_triples, draw_bit_triples, join_leaves
from ..shared.bit_planes import plane_bytes, plane_words, select, spread_plane
from ..shared.digit_planes import (
    CHOICE_PLANES,
    LEAF_PLANES,
    LOW_BITS,
    MESSAGE_PLANES,
    join_digits,
    plane_blocks,
    split_digits,
    split_leaves,
)
from .tables import OT_MASK_PLANES, ot_masks, tables


def _send_leaves(channel: Channel, share: np.ndarray, source: RandomSource) -> tuple[np.ndarray, np.ndarray]:
    """Party 0: answer the choices with a masked table per digit; its own share absorbs the message of value 0."""
    images, elements = share.shape
    octets = plane_bytes(elements)
    masks = source.planes(OT_MASK_PLANES, octets)
    thresholds = tables().word_planes(~share, LOW_BITS)
    choices = channel.exchange(None, images * CHOICE_PLANES * octets).reshape(images, CHOICE_PLANES, octets)
    messages, leaves = tables().answer(masks, choices, thresholds)
    channel.exchange(messages, 0)
    return split_leaves(leaves)


def _receive_leaves(
    channel: Channel, share: np.ndarray, source: RandomSource, dealt: Corrections
) -> tuple[np.ndarray, np.ndarray]:
    """Party 1: choose with the digits of its share."""
    images, elements = share.shape
    octets = plane_bytes(elements)
    choices = source.planes(CHOICE_PLANES, octets)
    own = tables().word_planes(share, LOW_BITS)
    channel.exchange(choices ^ own, 0)
    received = channel.exchange(None, images * MESSAGE_PLANES * octets).reshape(images, MESSAGE_PLANES, octets)
    leaves = tables().choose(received, own)
    return split_leaves(leaves ^ dealt.planes(LEAF_PLANES, octets))


def _deal_leaves(elements: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter) -> None:
    """The mask that each of the receiver's random choices names."""
    octets = plane_bytes(elements)
    masks, choices = sources[0].planes(OT_MASK_PLANES, octets), sources[1].planes(CHOICE_PLANES, octets)
    dealt = np.empty((len(masks), LEAF_PLANES, octets), np.uint8)
    for rows, columns in plane_blocks(len(masks), octets):
        block = rows, slice(None), columns
        pairs = zip(ot_masks(masks[block]), split_digits(choices[block]))
        dealt[block] = join_digits(*(select(mask, choice) for mask, choice in pairs))
    writer.put(dealt)


@dataclass(frozen=True)
class Signs:
    """How many signs there are, and the one that chooses each element: int64 [E]; None where each has its own."""

    count: int
    index: np.ndarray | None = None

    @staticmethod
    def of(operation: SelectOp, program: Program) -> Signs:
        """Those of the patches of a selection."""
        index = patch_index(program.tensor(operation.output).shape, operation.patch)
        count = program.tensor(operation.inputs[1]).elements
        return Signs(count, index if count < len(index) else None)

    @property
    def octets(self) -> int:
        """Of one plane."""
        return plane_bytes(self.count)

    def spread(self, plane: np.ndarray) -> np.ndarray:
        """A bit of every sign, a plane [N, P], as the word of every element, uint32 [N, E]."""
        words = plane_words(plane, self.count)
        return words if self.index is None else np.take(words, self.index, axis=1)

    def spread_plane(self, plane: np.ndarray) -> np.ndarray:
        """A bit of every sign as the bit of every element, both as planes."""
        return plane if self.index is None else spread_plane(plane, self.count, self.index)


def _multiplex(
    number: int,
    channel: Channel,
    share: np.ndarray,
    bit: np.ndarray,
    source: RandomSource,
    dealt: Corrections,
    signs: Signs,
) -> np.ndarray:
    """Share of b·x from shares of the word x [N, E] and of the bit b, a plane [N, P] of its sign.

    Correlated OT in both directions: as sender a party holds (R_0, Δ), as receiver a choice c and R_0 + cΔ.
    """
    elements = share.shape[1]
    octets = signs.octets
    if number == 0:
        base, step = source.words(elements), source.words(elements)
        choice, received_mask = source.planes(1, octets)[:, 0], source.words(elements)
    else:
        choice, step = source.planes(1, octets)[:, 0], source.words(elements)
        received_mask, base = dealt.words(elements), dealt.words(elements)
    mine = choice ^ bit
    asked = signs.spread_plane(channel.exchange(mine, mine.nbytes).reshape(mine.shape))
    own = signs.spread_plane(bit)
    message = tables().multiplex_message(share, step, own, asked)
    answer = channel.exchange(message, message.nbytes).view("<u4").astype(np.uint32, copy=False).reshape(message.shape)
    return tables().multiplex_result(share, (step, base, received_mask), own, asked, answer)


def _deal_multiplexer(
    elements: int, signs: Signs, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter
) -> None:
    """Party 1's R_0 + cΔ as receiver and its R_0 as sender."""
    octets = signs.octets
    base, step = sources[0].words(elements), sources[0].words(elements)
    choice, received_mask = sources[0].planes(1, octets)[:, 0], sources[0].words(elements)
    other_choice, other_step = sources[1].planes(1, octets)[:, 0], sources[1].words(elements)
    writer.put(base + signs.spread(other_choice) * step)
    writer.put(received_mask - signs.spread(choice) * other_step)


def select_expansion(number: int, elements: int, signs: int) -> int:
    """Octets that a party expands for choosing `elements` per image by as many or fewer signs."""
    words, planes = (3, OT_MASK_PLANES + sum(AND_GATES)) if number == 0 else (1, CHOICE_PLANES)
    return 4 * words * elements + (planes + sum(AND_OPENED_PLANES) + 1) * plane_bytes(signs)


def evaluate_relu(
    number: int, channel: Channel, share: np.ndarray, source: RandomSource, dealt: Corrections
) -> np.ndarray:
    """Share of max(x, 0) from the share of x, uint32 [N, E]; seven rounds."""
    share = np.ascontiguousarray(share)
    positive = _not_negative(number, channel, share, source, dealt)
    return _multiplex(number, channel, share, positive, source, dealt, Signs(share.shape[1]))


def evaluate_select(
    number: int,
    channel: Channel,
    share: np.ndarray,
    sums: np.ndarray,
    signs: Signs,
    source: RandomSource,
    dealt: Corrections,
) -> np.ndarray:
    """Share of x·[s > 0] from shares of x [N, E] and of s [N, S], every element by its sign; seven rounds."""
    below = sums - np.uint32(number == 0)  # s > 0 where s − 1 is not negative
    positive = _not_negative(number, channel, np.ascontiguousarray(below), source, dealt)
    return _multiplex(number, channel, share, positive, source, dealt, signs)


def _not_negative(
    number: int, channel: Channel, share: np.ndarray, source: RandomSource, dealt: Corrections
) -> np.ndarray:
    """Share of [x ≥ 0], a plane [N, P]."""
    leaves = _send_leaves(channel, share, source) if number == 0 else _receive_leaves(channel, share, source, dealt)
    carry = join_leaves(number, channel, *leaves, draw_bit_triples(number, plane_bytes(share.shape[1]), source, dealt))
    top = tables().sign_plane(share)
    return carry ^ top if number == 1 else carry ^ ~top


def deal_select(
    elements: int, signs: Signs, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter
) -> None:
    """Party 1's corrections for choosing `elements` per image by signs that are compared."""
    _deal_leaves(signs.count, sources, writer)
    deal_bit_triples(signs.octets, sources, writer)
    _deal_multiplexer(elements, signs, sources, writer)
