"""Material of a square by oblivious transfer: A² = A_0² + A_1² + 2·A_0·A_1 modulo 2^32."""

from __future__ import annotations

import numpy as np

from ...cost.protocol import Exchange
from ...program import WORD_BYTES
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
