"""Material of a truncation by oblivious transfer: shares of r >> s and of the top bit of r = r_0 + r_1.

Each party fixes its part of the mask by its seed. What is missing are two carries of the sum, at bit s and at bit 31.
The wrap of the sum at bit 32 follows without a comparison: top + 2·wrap = msb_0 + msb_1 + carry_31, and halving a
shared even number is local.
"""

from __future__ import annotations

import numpy as np

from ...cost.protocol import Exchange
from ...program import WORD_BYTES
from ..material import CorrectionWriter, RandomSource
from ..shared.bit_planes import plane_bytes, plane_words, word_planes
from ..shared.oblivious_transfer.carries import carry_rounds, share_carries
from ..shared.oblivious_transfer.products import receive_word_products, send_word_products
from ..shared.oblivious_transfer.transfers import Transfers, choice_rounds, message_of, read_message

SIGN_BIT = 31
#: Shared bits that become words: the carries at bits s and 31, and the top bit of the sum.
CONVERTED = 3


def truncation_rounds(bits: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for one truncation by `bits` of `elements` per image."""
    return (
        *carry_rounds((bits, SIGN_BIT), elements, images),
        *choice_rounds(1, CONVERTED * images * plane_bytes(elements)),
        Exchange((images * elements * WORD_BYTES * (CONVERTED + 2), 0)),
    )


def send_truncation(transfers: Transfers, bits: int, elements: int, source: RandomSource) -> None:
    """Party 0's part; its material is its seed alone."""
    r, shifted, top = source.words(elements), source.words(elements), source.words(elements)
    images = len(r)
    carries = share_carries(transfers, r, (bits, SIGN_BIT))
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
    carries = share_carries(transfers, r, (bits, SIGN_BIT))
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


def _bit_words(planes: np.ndarray, elements: int) -> np.ndarray:
    """Planes [N, D, P] -> uint32 zeros and ones [N, D, E]."""
    images, count, octets = planes.shape
    return plane_words(planes.reshape(images * count, octets), elements).reshape(images, count, elements)


def _first(pads: tuple[np.ndarray, np.ndarray], elements: int) -> tuple[np.ndarray, np.ndarray]:
    return pads[0][:, :, :elements], pads[1][:, :, :elements]
