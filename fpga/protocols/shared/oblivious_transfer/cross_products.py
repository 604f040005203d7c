"""Shares of a·b for a word a of party 0 and a word b of party 1, by the bits of b (Gilboa, CRYPTO 1999).

Bit i of b selects a modulo 2^(m−i), m being the bits of the product that are wanted; it is sent in as many octets as
that has.
"""

from __future__ import annotations

import numpy as np

from ....cost.protocol import Exchange
from ....program import WORD_BYTES
from ..bit_planes import plane_bytes, word_planes
from .messages import WordReader, low_octets
from .transfers import Transfers, choice_rounds


def _term_octets(bits: int, product_bits: int) -> list[int]:
    """Octets in which the multiple of each bit of b is sent."""
    return [-(-(product_bits - bit) // 8) for bit in range(bits)]


def cross_rounds(bits: int, product_bits: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for products with words b of some bits."""
    return (
        *choice_rounds(1, bits * images * plane_bytes(elements)),
        Exchange((images * elements * sum(_term_octets(bits, product_bits)), 0)),
    )


def cross_product(transfers: Transfers, word: np.ndarray, bits: int, product_bits: int) -> np.ndarray:
    """This party's share of a·b modulo 2^product_bits.

    Args:
        transfers: to the other party.
        word: a at party 0, b at party 1, uint32 [N, E], or uint64 where products need it.
        bits: of b that may be set, at most 32.
        product_bits: at most those of the words' type.
    """
    images, elements = word.shape
    terms = _term_octets(bits, product_bits)
    planned = cross_rounds(bits, product_bits, elements, images)[-1]
    dtype, words = word.dtype, word.dtype.itemsize // WORD_BYTES
    share = np.zeros_like(word)
    if transfers.number == 0:
        pads = transfers.answer_wide((images, bits, plane_bytes(elements)), words)
        first, second = (pad.view(dtype)[:, :, :elements, 0] for pad in pads)
        message = []
        for bit, octets in enumerate(terms):
            share -= first[:, bit] << dtype.type(bit)
            message.append(low_octets(first[:, bit] - second[:, bit] + word, octets))
        transfers.exchange(np.concatenate(message), planned)
        return share
    chosen = transfers.choose_wide(word_planes(word.astype(np.uint32, copy=False), bits), words).view(dtype)
    received = WordReader(transfers.exchange(None, planned))
    for bit, octets in enumerate(terms):
        selected = (word >> dtype.type(bit) & dtype.type(1)) * received.take(word.shape, octets, dtype)
        share += (chosen[:, bit, :elements, 0] + selected) << dtype.type(bit)
    return share
