"""Material of a square by oblivious transfer: A² of A = A_0 + A_1 from the bits of A_1 (Gilboa, CRYPTO 1999).

A² = A_0² + A_1² + 2·A_0·A_1, so that the cross product is needed modulo 2^31 only: bit i of A_1 selects A_0 modulo
2^(31−i), which is sent in as many octets as it has.
"""

from __future__ import annotations

import numpy as np

from ..protocols.base import Exchange
from ..protocols.beaver_ot import WORD_BYTES, plane_bytes
from ..protocols.bit_planes import word_planes
from ..protocols.material import CorrectionWriter, RandomSource
from .transfers import Transfers, choice_rounds

PRODUCT_BITS = 31
#: Octets in which the multiple of each bit is sent.
TERM_OCTETS = tuple(-(-(PRODUCT_BITS - bit) // 8) for bit in range(PRODUCT_BITS))


def square_rounds(elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for the squares of `elements` per image."""
    octets, count = images * plane_bytes(elements), images * elements
    return (
        *choice_rounds(1, PRODUCT_BITS * octets),
        Exchange((count * (sum(TERM_OCTETS) + WORD_BYTES), 0)),
    )


def send_square(transfers: Transfers, elements: int, source: RandomSource) -> None:
    """Party 0's part; its material is its seed alone."""
    a, fixed = source.words(elements), source.words(elements)
    images = len(a)
    *_, answered = square_rounds(elements, images)
    first, second = transfers.answer(images, PRODUCT_BITS, plane_bytes(elements))
    share, parts = np.zeros_like(a), []
    for bit, octets in enumerate(TERM_OCTETS):
        pad = first[:, bit, :elements]
        share -= pad << np.uint32(bit)
        parts.append(_low_octets(pad - second[:, bit, :elements] + a, octets))
    parts.append(_low_octets(a * a + share + share - fixed, WORD_BYTES))
    transfers.exchange(np.concatenate(parts), answered)


def receive_square(transfers: Transfers, elements: int, source: RandomSource, writer: CorrectionWriter) -> None:
    """Party 1's part: `writer` gets its corrections."""
    a = source.words(elements)
    images, count = len(a), a.size
    *_, answered = square_rounds(elements, images)
    pads = transfers.choose(word_planes(a, PRODUCT_BITS))
    received = transfers.exchange(None, answered)
    share, place = np.zeros_like(a), 0
    for bit, octets in enumerate(TERM_OCTETS):
        message = _words(received[place : place + count * octets], octets).reshape(a.shape)
        place += count * octets
        share += (pads[:, bit, :elements] + (a >> np.uint32(bit) & np.uint32(1)) * message) << np.uint32(bit)
    writer.put(a * a + share + share + _words(received[place:], WORD_BYTES).reshape(a.shape))


def _low_octets(words: np.ndarray, octets: int) -> np.ndarray:
    """The low octets of each word, uint8 [words · octets]."""
    return words.astype("<u4").reshape(-1, 1).view(np.uint8)[:, :octets].reshape(-1)


def _words(octets: np.ndarray, count: int) -> np.ndarray:
    """Words from `count` octets each, uint32."""
    rows = np.zeros((len(octets) // count, WORD_BYTES), np.uint8)
    rows[:, :count] = octets.reshape(-1, count)
    return rows.view("<u4")[:, 0].astype(np.uint32, copy=False)
