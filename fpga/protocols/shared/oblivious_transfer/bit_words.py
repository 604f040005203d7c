"""Products of shared bits with shared words by correlated oblivious transfer.

A bit q = q_0 ⊕ q_1 is q_0 + q_1 − 2·q_0·q_1, so that q·x_0, with x_0 known to party 0, is
q_0·x_0 + q_1·x_0·(1 − 2·q_0): party 1's bit chooses. The part with x_1 goes the other way. All words that one bit meets
share its transfer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....cost.protocol import Exchange
from ....program import WORD_BYTES
from ..bit_planes import plane_bytes, plane_words
from .messages import WordReader, low_octets
from .transfers import Transfers, choice_rounds


@dataclass(frozen=True)
class Factor:
    """A word that a bit meets.

    `octets`: low octets of the product that are wanted. `one_way`: the word is party 0's alone (its share at party 1 is
    zero), so that nothing goes the other way; with the word 1 the product is the bit itself.
    """

    octets: int
    one_way: bool = False


@dataclass(frozen=True)
class BitProducts:
    """What one bit is multiplied by: words of one size, at most four words of 32 bits together."""

    factors: tuple[Factor, ...]

    def sent_by(self, party: int) -> list[int]:
        """The factors of which this party's share is multiplied by the other party's bit."""
        return [index for index, factor in enumerate(self.factors) if party == 0 or not factor.one_way]


def product_rounds(plan: Sequence[BitProducts], elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for the products of some bits."""
    octets, count = images * plane_bytes(elements), images * elements
    sizes = [sum(bit.factors[index].octets for bit in plan for index in bit.sent_by(party)) for party in (0, 1)]
    rounds = choice_rounds(1, len(plan) * octets)
    if sizes[1]:
        rounds += choice_rounds(0, len(_sending(plan, 1)) * octets)
    return (*rounds, Exchange((count * sizes[0], count * sizes[1])))


def multiply_bits(
    transfers: Transfers, plan: Sequence[BitProducts], bits: Sequence[np.ndarray], words: Sequence[Sequence[np.ndarray]]
) -> list[list[np.ndarray]]:
    """This party's shares of the products, modulo 256^octets, like `words`.

    Args:
        transfers: to the other party.
        plan: the products of every bit.
        bits: shares of the bits, planes [N, P].
        words: per bit and factor this party's share, uint32 or uint64 [N, E].
    """
    images, elements = words[0][0].shape
    dtype = words[0][0].dtype
    chosen, pads = _transfer(transfers, plan, np.stack(bits, axis=1), dtype)
    own = [plane_words(bit, elements).astype(dtype, copy=False) for bit in bits]
    shares = [[bit * word for word in each] for bit, each in zip(own, words)]
    message = []
    for place, index in enumerate(_sending(plan, transfers.number)):
        sign = dtype.type(1) - own[index] - own[index]
        for slot, factor in enumerate(plan[index].sent_by(transfers.number)):
            first, second = (pad[:, place, :elements, slot] for pad in pads)
            correlation = first - second + sign * words[index][factor]
            message.append(low_octets(correlation, plan[index].factors[factor].octets))
            shares[index][factor] = shares[index][factor] - first
    planned = product_rounds(plan, elements, images)[-1]
    received = WordReader(transfers.exchange(np.concatenate(message) if message else None, planned))
    for place, index in enumerate(_sending(plan, 1 - transfers.number)):
        for slot, factor in enumerate(plan[index].sent_by(1 - transfers.number)):
            correlation = received.take((images, elements), plan[index].factors[factor].octets, dtype)
            mine = chosen[:, place, :elements, slot] + own[index] * correlation
            shares[index][factor] = shares[index][factor] + mine
    return shares


def _sending(plan: Sequence[BitProducts], party: int) -> list[int]:
    """The bits for which this party sends anything."""
    return [index for index, bit in enumerate(plan) if bit.sent_by(party)]


def _transfer(
    transfers: Transfers, plan: Sequence[BitProducts], choices: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The pads that this party's bits choose, and both pads of the other one's, [N, bits, 8P, slots] of `dtype`."""
    chosen, pads = np.zeros(0, dtype), [np.zeros(0, dtype)] * 2
    for sender in (0, 1):
        bits = _sending(plan, sender)
        if not bits:
            continue
        words = max(len(plan[index].sent_by(sender)) for index in bits) * dtype.itemsize // WORD_BYTES
        if transfers.number == sender:
            both = transfers.answer_wide((len(choices), len(bits), choices.shape[2]), words)
            pads = [pad.view(dtype) for pad in both]
        else:
            chosen = transfers.choose_wide(choices[:, bits], words).view(dtype)
    return chosen, pads
