"""Material of a truncation by oblivious transfer: shares of r >> s and of the top bit of r = r_0 + r_1.

Each party fixes its part of the mask by its seed. What is missing are two carries of the sum, at bit s and at bit 31.
The carry runs through 4-bit digits: carry' = [v > t] ⊕ [v = t] ∧ carry with party 1's digit v and t = 15 − party 0's
digit. One (2^5,1)-OT per digit computes it on shares, its choice being v and party 1's share of the carry.

The wrap of the sum at bit 32 follows without a comparison: top + 2·wrap = msb_0 + msb_1 + carry_31, and halving a
shared even number is local.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..protocols.base import Exchange
from ..protocols.beaver_ot import WORD_BYTES, plane_bytes
from ..protocols.bit_planes import indicators, plane_words, select, word_planes
from ..protocols.material import CorrectionWriter, RandomSource
from .ot_products import chosen_table_pads, receive_word_products, send_word_products, table_pads
from .transfers import Transfers, choice_rounds, message_of, read_message

DIGIT = 4
SIGN_BIT = 31
#: Shared bits that become words: the carries at bits s and 31, and the top bit of the sum.
CONVERTED = 3


@dataclass(frozen=True)
class _Digit:
    """Bits [start, stop) of the masks."""

    start: int
    stop: int

    @property
    def bits(self) -> int:
        return self.stop - self.start


def _digits(dropped_bits: int) -> list[_Digit]:
    """Digits of the 31 low bits, least significant first, cut at the bits that are dropped."""
    cuts = [*range(0, dropped_bits, DIGIT), *range(dropped_bits, SIGN_BIT, DIGIT), SIGN_BIT]
    return [_Digit(start, stop) for start, stop in pairwise(cuts)]


def truncation_rounds(bits: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for one truncation by `bits` of `elements` per image."""
    octets = images * plane_bytes(elements)
    rounds: list[Exchange] = []
    for index, digit in enumerate(_digits(bits)):
        choices = digit.bits + (index > 0)
        rounds += [*choice_rounds(1, choices * octets), _table_round(choices, octets)]
    rounds += choice_rounds(1, CONVERTED * octets)
    rounds.append(Exchange((images * elements * WORD_BYTES * (CONVERTED + 2), 0)))
    return tuple(rounds)


def _table_round(choices: int, octets: int) -> Exchange:
    """All entries of a carry's table but the first."""
    return Exchange((((1 << choices) - 1) * octets, 0))


def send_truncation(transfers: Transfers, bits: int, elements: int, source: RandomSource) -> None:
    """Party 0's part; its material is its seed alone."""
    r, shifted, top = source.words(elements), source.words(elements), source.words(elements)
    images = len(r)
    thresholds = word_planes(~r, SIGN_BIT)
    carries, carry = {}, None
    for digit in _digits(bits):
        carry = _send_carry(transfers, thresholds[:, digit.start : digit.stop], carry)
        carries[digit.stop] = carry
    pads = transfers.answer(images, CONVERTED, plane_bytes(elements))
    sign = word_planes(r >> np.uint32(SIGN_BIT), 1)[:, 0]
    shared = np.stack((carries[bits], carries[SIGN_BIT], carries[SIGN_BIT] ^ sign), axis=1)
    own = _bit_words(shared, elements)
    share, correlation = send_word_products(_first(pads, elements), np.uint32(1) - own - own)
    low, high, result = np.moveaxis(own + share, 1, 0)
    wrap = ((r >> np.uint32(SIGN_BIT)) + high - result) >> np.uint32(1)
    mine = (r >> np.uint32(bits)) + low - (wrap << np.uint32(32 - bits))
    transfers.exchange(
        message_of((correlation, mine - shifted, result - top)), truncation_rounds(bits, elements, images)[-1]
    )


def receive_truncation(
    transfers: Transfers, bits: int, elements: int, source: RandomSource, writer: CorrectionWriter
) -> None:
    """Party 1's part: `writer` gets its corrections."""
    r = source.words(elements)
    images = len(r)
    values = word_planes(r, SIGN_BIT)
    carries, carry = {}, None
    for digit in _digits(bits):
        carry = _receive_carry(transfers, values[:, digit.start : digit.stop], carry)
        carries[digit.stop] = carry
    sign = word_planes(r >> np.uint32(SIGN_BIT), 1)[:, 0]
    shared = np.stack((carries[bits], carries[SIGN_BIT], carries[SIGN_BIT] ^ sign), axis=1)
    pads = transfers.choose(shared)
    received = read_message(transfers.exchange(None, truncation_rounds(bits, elements, images)[-1]), images)
    correlation = received.words(CONVERTED, elements)
    own = _bit_words(shared, elements)
    low, high, result = np.moveaxis(receive_word_products(pads[:, :, :elements], own, correlation), 1, 0)
    # both shares of the even number have one parity, so that one of them rounds up
    wrap = ((r >> np.uint32(SIGN_BIT)) + high - result + np.uint32(1)) >> np.uint32(1)
    mine = (r >> np.uint32(bits)) + low - (wrap << np.uint32(32 - bits))
    writer.put(mine + received.words(elements))
    writer.put(result + received.words(elements))


def _send_carry(transfers: Transfers, threshold: np.ndarray, carry: np.ndarray | None) -> np.ndarray:
    """Party 0's share of the carry out of one digit, [N, P]: the pad of entry 0 absorbs that entry."""
    images, bits, octets = threshold.shape
    choices = bits + (carry is not None)
    pads = transfers.answer(images, choices, octets)
    masked = table_pads((pads[0][:, None], pads[1][:, None]), 1)[:, 0, :, 0] ^ _carry_table(threshold, carry)
    share = masked[:, 0]
    transfers.exchange(masked[:, 1:] ^ share[:, None], _table_round(choices, images * octets))
    return share


def _receive_carry(transfers: Transfers, values: np.ndarray, carry: np.ndarray | None) -> np.ndarray:
    """Party 1's share of the carry out of one digit, [N, P]."""
    images, _, octets = values.shape
    choices = values if carry is None else np.concatenate((values, carry[:, None]), axis=1)
    pads = transfers.choose(choices)
    planned = _table_round(choices.shape[1], images * octets)
    entries = chosen_table_pads(pads[:, None], 1)[:, 0]
    entries[:, 1:, 0] ^= transfers.exchange(None, planned).reshape(images, -1, octets)
    return select(entries[:, None], choices[:, None])[:, 0, 0]


def _carry_table(threshold: np.ndarray, carry: np.ndarray | None) -> np.ndarray:
    """For each value v of a digit, and of party 1's carry above it: the carry out, planes [N, entries, P]."""
    equal = indicators(threshold[:, None])[:, 0]
    greater = np.zeros_like(equal)
    np.bitwise_xor.accumulate(equal[:, :-1], axis=1, out=greater[:, 1:])
    if carry is None:
        return greater
    return np.concatenate((greater ^ (equal & carry[:, None]), greater ^ (equal & ~carry[:, None])), axis=1)


def _bit_words(planes: np.ndarray, elements: int) -> np.ndarray:
    """Planes [N, D, P] -> uint32 zeros and ones [N, D, E]."""
    images, count, octets = planes.shape
    return plane_words(planes.reshape(images * count, octets), elements).reshape(images, count, elements)


def _first(pads: tuple[np.ndarray, np.ndarray], elements: int) -> tuple[np.ndarray, np.ndarray]:
    return pads[0][:, :, :elements], pads[1][:, :, :elements]
