"""Comparison by oblivious transfer: the sign of a shared word, and max(x, 0) from it.

x = x_0 + x_1 is negative as the exclusive or of the shares' top bits and the carry of their 31 low bits says. The carry
is `x_1 > 2^31 − 1 − x_0` on the low bits, a millionaires' comparison (CrypTFlow2): party 0 is the OT sender with the
threshold, party 1 the receiver whose digits choose. All bits are handled in planes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .beaver_ot import (
    CHOICE_PLANES,
    DIGIT_BITS,
    MESSAGE_PLANES,
    OT_CORRECTION_PLANES,
    and_tree,
    plane_bytes,
)
from .bit_planes import exchange_entries, indicators, plane_words, select, word_planes
from .material import Corrections, CorrectionWriter, RandomSource
from .party import Channel

LOW_BITS = sum(DIGIT_BITS)
LOWEST, DIGIT = DIGIT_BITS[0], DIGIT_BITS[1]
DIGITS = len(DIGIT_BITS)
UPPER_DIGITS = DIGITS - 1
LOWEST_ENTRIES, ENTRIES = 1 << LOWEST, 1 << DIGIT
LEAF_PLANES = OT_CORRECTION_PLANES
#: Octets of a plane that are worked on together.
BLOCK_OCTETS = 2048
#: Masks of the random OTs, per element: one bit per value of the lowest digit, two per value of the others.
OT_MASK_PLANES = LOWEST_ENTRIES + UPPER_DIGITS * ENTRIES * 2


def split_digits(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """3 + 4U planes -> the lowest digit [N, 1, 3, P] and the upper ones [N, U, 4, P]; U is 7 for a whole word."""
    images, _, octets = planes.shape
    lowest = planes[:, :LOWEST].reshape(images, 1, LOWEST, octets)
    return lowest, planes[:, LOWEST:].reshape(images, -1, DIGIT, octets)


def _ot_masks(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sender's masks: [N, 1, 8, 1, P] for the lowest digit, [N, 7, 16, 2, P] for the others."""
    images, _, octets = planes.shape
    lowest = planes[:, :LOWEST_ENTRIES].reshape(images, 1, LOWEST_ENTRIES, 1, octets)
    return lowest, planes[:, LOWEST_ENTRIES:].reshape(images, UPPER_DIGITS, ENTRIES, 2, octets)


def _join(lowest: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Any two blocks of planes side by side: [N, planes, P]."""
    images, octets = lowest.shape[0], lowest.shape[-1]
    return np.concatenate((lowest.reshape(images, -1, octets), upper.reshape(images, -1, octets)), axis=1)


def split_leaves(leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves [N, 1 + 2U, P] -> greater [N, 1 + U, P], equal of the upper digits [N, U, P]."""
    return np.concatenate((leaves[:, :1], leaves[:, 1::2]), axis=1), leaves[:, 2::2]


def _comparison_table(threshold: np.ndarray) -> np.ndarray:
    """For each value v of a digit: [v > threshold] and [v = threshold]; [N, D, m, P] -> [N, D, 2^m, 2, P]."""
    equal = indicators(threshold)
    greater = np.zeros_like(equal)
    for value in range(1, equal.shape[2]):
        np.bitwise_xor(greater[:, :, value - 1], equal[:, :, value - 1], out=greater[:, :, value])
    return np.stack((greater, equal), axis=3)


def plane_blocks(images: int, octets: int) -> Iterator[tuple[slice, slice]]:
    """Images and octets of planes that are worked on together, so that their tables stay in the cache."""
    width = min(octets, BLOCK_OCTETS)
    count = max(1, BLOCK_OCTETS // width)
    for first in range(0, images, count):
        for start in range(0, octets, width):
            yield slice(first, first + count), slice(start, start + width)


def _send_leaves(channel: Channel, share: np.ndarray, source: RandomSource) -> tuple[np.ndarray, np.ndarray]:
    """Party 0: answer the choices with a masked table per digit; its own share absorbs the message of value 0."""
    images, elements = share.shape
    octets = plane_bytes(elements)
    masks = source.planes(OT_MASK_PLANES, octets)
    thresholds = word_planes(~share, LOW_BITS)
    choices = channel.exchange(None, images * CHOICE_PLANES * octets).reshape(images, CHOICE_PLANES, octets)
    messages = np.empty((images, MESSAGE_PLANES, octets), np.uint8)
    leaves = np.empty((images, LEAF_PLANES, octets), np.uint8)
    for rows, columns in plane_blocks(images, octets):
        block = rows, slice(None), columns
        messages[block], leaves[block] = _answer(masks[block], choices[block], thresholds[block])
    channel.exchange(messages, 0)
    return split_leaves(leaves)


def _answer(masks: np.ndarray, choices: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sender's messages [N, 217, P] to the masked choices, and its own leaves [N, 15, P]."""
    own, messages = [], []
    for mask, choice, threshold in zip(_ot_masks(masks), split_digits(choices), split_digits(thresholds)):
        table = _comparison_table(threshold)[:, :, :, : mask.shape[3]] ^ exchange_entries(mask, choice)
        own.append(table[:, :, 0])
        messages.append(table[:, :, 1:] ^ table[:, :, :1])
    return _join(*messages), _join(*own)


def _receive_leaves(
    channel: Channel, share: np.ndarray, source: RandomSource, dealt: Corrections
) -> tuple[np.ndarray, np.ndarray]:
    """Party 1: choose with the digits of its share."""
    images, elements = share.shape
    octets = plane_bytes(elements)
    choices = source.planes(CHOICE_PLANES, octets)
    own = word_planes(share, LOW_BITS)
    channel.exchange(choices ^ own, 0)
    received = channel.exchange(None, images * MESSAGE_PLANES * octets).reshape(images, MESSAGE_PLANES, octets)
    leaves = np.empty((images, LEAF_PLANES, octets), np.uint8)
    for rows, columns in plane_blocks(images, octets):
        block = rows, slice(None), columns
        leaves[block] = _choose(received[block], own[block])
    return split_leaves(leaves ^ dealt.planes(LEAF_PLANES, octets))


def _choose(messages: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The receiver's entries [N, 15, P] of the sender's messages [N, 217, P]; value 0 has no message."""
    images, _, octets = messages.shape
    lowest = messages[:, : LOWEST_ENTRIES - 1].reshape(images, 1, -1, 1, octets)
    upper = messages[:, LOWEST_ENTRIES - 1 :].reshape(images, UPPER_DIGITS, -1, 2, octets)
    chosen = []
    for table, digits in zip((lowest, upper), split_digits(own)):
        chosen.append(select(np.concatenate((np.zeros_like(table[:, :, :1]), table), axis=2), digits))
    return _join(*chosen)


def _deal_leaves(elements: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter) -> None:
    """The mask that each of the receiver's random choices names."""
    octets = plane_bytes(elements)
    masks, choices = sources[0].planes(OT_MASK_PLANES, octets), sources[1].planes(CHOICE_PLANES, octets)
    dealt = np.empty((len(masks), LEAF_PLANES, octets), np.uint8)
    for rows, columns in plane_blocks(len(masks), octets):
        block = rows, slice(None), columns
        pairs = zip(_ot_masks(masks[block]), split_digits(choices[block]))
        dealt[block] = _join(*(select(mask, choice) for mask, choice in pairs))
    writer.put(dealt)


#: Per level of the tree: this party's masks and its shares of their products, planes.
BitTriples = list[tuple[np.ndarray, np.ndarray]]


def draw_bit_triples(
    number: int, octets: int, source: RandomSource, dealt: Corrections, digits: int = DIGITS
) -> BitTriples:
    """This party's material for one AND tree."""
    triples = []
    for opened_planes, gates in and_tree(digits):
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


def _multiplex(
    number: int, channel: Channel, share: np.ndarray, bit: np.ndarray, source: RandomSource, dealt: Corrections
) -> np.ndarray:
    """Share of b·x from shares of the word x [N, E] and of the bit b (a plane [N, P]).

    Correlated OT in both directions: as sender a party holds (R_0, Δ), as receiver a choice c and R_0 + cΔ.
    """
    elements = share.shape[1]
    octets = plane_bytes(elements)
    if number == 0:
        base, step = source.words(elements), source.words(elements)
        choice, received_mask = source.planes(1, octets)[:, 0], source.words(elements)
    else:
        choice, step = source.planes(1, octets)[:, 0], source.words(elements)
        received_mask, base = dealt.words(elements), dealt.words(elements)
    own_bit = plane_words(bit, elements)
    mine = choice ^ bit
    asked = plane_words(channel.exchange(mine, mine.nbytes).reshape(mine.shape), elements)
    asked_mask = base + asked * step
    message = share * (np.uint32(1) - own_bit - own_bit) + step * (asked + asked - np.uint32(1))
    answer = channel.exchange(message, message.nbytes).view("<u4").astype(np.uint32, copy=False).reshape(message.shape)
    return share * own_bit - asked_mask + received_mask + own_bit * answer


def _deal_multiplexer(elements: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter) -> None:
    """Party 1's R_0 + cΔ as receiver and its R_0 as sender."""
    octets = plane_bytes(elements)
    base, step = sources[0].words(elements), sources[0].words(elements)
    choice, received_mask = sources[0].planes(1, octets)[:, 0], sources[0].words(elements)
    other_choice, other_step = sources[1].planes(1, octets)[:, 0], sources[1].words(elements)
    writer.put(base + plane_words(other_choice, elements) * step)
    writer.put(received_mask - plane_words(choice, elements) * other_step)


def evaluate_relu(
    number: int, channel: Channel, share: np.ndarray, source: RandomSource, dealt: Corrections
) -> np.ndarray:
    """Share of max(x, 0) from the share of x, uint32 [N, E]; seven rounds."""
    share = np.ascontiguousarray(share)
    leaves = _send_leaves(channel, share, source) if number == 0 else _receive_leaves(channel, share, source, dealt)
    octets = plane_bytes(share.shape[1])
    carry = join_leaves(number, channel, *leaves, draw_bit_triples(number, octets, source, dealt))
    top = np.packbits((share >> np.uint32(31)).astype(np.uint8), axis=-1)
    positive = carry ^ top if number == 1 else carry ^ ~top
    return _multiplex(number, channel, share, positive, source, dealt)


def deal_relu(elements: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter) -> None:
    """Party 1's corrections for one ReLU of `elements` per image."""
    _deal_leaves(elements, sources, writer)
    deal_bit_triples(plane_bytes(elements), sources, writer)
    _deal_multiplexer(elements, sources, writer)
