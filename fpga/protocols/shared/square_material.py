"""Material of squares and products by oblivious transfer: A² = A_0² + A_1² + 2·A_0·A_1 modulo 2^32, and A ⊙ B."""

from __future__ import annotations

import numpy as np

from ...cost.protocol import Exchange
from ...program import RING_BITS, WORD_BYTES
from .oblivious_transfer.cross_products import cross_product, cross_rounds
from .oblivious_transfer.transfers import Transfers, send_difference

#: The cross product is doubled: its top bit is not wanted.
PRODUCT_BITS = 31


def square_rounds(elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for the squares of `elements` per image."""
    return (
        *cross_rounds(PRODUCT_BITS, PRODUCT_BITS, elements, images),
        Exchange((images * elements * WORD_BYTES, 0)),
    )


def square_share(transfers: Transfers, a: np.ndarray, fixed: np.ndarray | None) -> np.ndarray:
    """This party's share of A² from its share of A, uint32 [N, E]; party 0's share is `fixed`."""
    product = cross_product(transfers, a, PRODUCT_BITS, PRODUCT_BITS)
    return send_difference(transfers, a * a + product + product, fixed)


def mul_rounds(elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for the products of `elements` pairs per image."""
    cross = cross_rounds(RING_BITS, RING_BITS, elements, images)
    return (*cross, *cross, Exchange((images * elements * WORD_BYTES, 0)))


def mul_share(transfers: Transfers, a: np.ndarray, b: np.ndarray, fixed: np.ndarray | None) -> np.ndarray:
    """This party's share of A ⊙ B, uint32 [N, E], from its shares of both; party 0's share is `fixed`.

    A is [N, *shape], and B is broadcast to it. A_0·B_1 by the bits of B_1, then B_0·A_1 by the bits of A_1.
    """
    a, b = (np.ascontiguousarray(np.broadcast_to(each, a.shape)).reshape(len(a), -1) for each in (a, b))
    own = (a, b) if transfers.number == 0 else (b, a)
    crossed = [cross_product(transfers, word, RING_BITS, RING_BITS) for word in own]
    return send_difference(transfers, a * b + crossed[0] + crossed[1], fixed)
