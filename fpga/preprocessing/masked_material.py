"""Material of `masked` from shares of the bits of a wire's mask r = r_0 + r_1: lifted forms, squares, selections.

What each function returns at party 0 is what its seed fixes (`fixed`), at party 1 its corrections. Words of the other
party's are never seen: everything that is sent is a pad's, or the difference to a share that a seed fixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..protocols.base import Exchange
from ..protocols.beaver_ot import AND_GATES, AND_OPENED_PLANES, WORD_BYTES, plane_bytes
from ..protocols.masked import ONEHOT_PLANES
from .bit_triples import TRIPLE_PLANES, TRIPLE_TRANSFERS, between, receive_triples, send_triples
from .bit_words import BitProducts, Factor, multiply_bits, product_rounds
from .cross_products import cross_product, cross_rounds
from .transfers import Transfers, choice_rounds, message_of, read_message, send_difference

RING_BITS = 32
SIGN_BIT = RING_BITS - 1

Forms = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class MaskBits:
    """A party's shares of what lifting r needs, planes [N, P].

    `carry` out of the s bits that are dropped (None for s = 0), `wrap` out of the word, `top` the top bit of r.
    """

    dropped: int
    carry: np.ndarray | None
    wrap: np.ndarray
    top: np.ndarray


def _product_octets(dropped: int, word_bytes: int) -> int:
    """Octets of a product that is multiplied by 2^(32−s)."""
    return -(-(8 * word_bytes - RING_BITS + dropped) // 8)


def _lift_plan(dropped: int, word_bytes: int) -> list[BitProducts]:
    above = BitProducts((Factor(_product_octets(dropped, word_bytes), one_way=True),))
    carry = [BitProducts((Factor(word_bytes, one_way=True),))] if dropped else []
    return [*carry, above, above]


def lift_rounds(dropped: int, word_bytes: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for the forms ρ_0 and ρ_1."""
    return (
        *product_rounds(_lift_plan(dropped, word_bytes), elements, images),
        Exchange((2 * word_bytes * images * elements, 0)),
    )


def share_forms(transfers: Transfers, r: np.ndarray, bits: MaskBits, dtype: np.dtype, fixed: Forms) -> Forms:
    """Shares of ρ_1 = r >> s and ρ_0 = ρ_1 − top·2^(32−s), both [N, E] of `dtype`.

    r >> s is (r_0 >> s) + (r_1 >> s) + carry − wrap·2^(32−s). `fixed` are party 0's (ρ_0, ρ_1), empty at party 1.
    """
    dropped, above = bits.dropped, dtype.type(RING_BITS - bits.dropped)
    plan = _lift_plan(dropped, dtype.itemsize)
    shared = [bit for bit in (bits.carry, bits.wrap, bits.top) if bit is not None]
    one = np.full(r.shape, 1 - transfers.number, dtype)
    *carry, wrap, top = (products[0] for products in multiply_bits(transfers, plan, shared, [[one]] * len(plan)))
    unsigned = (r >> np.uint32(dropped)).astype(dtype) - (wrap << above)
    for word in carry:
        unsigned += word
    signed = unsigned - (top << above)
    stacked = np.stack((signed, unsigned), axis=1)
    first, second = np.moveaxis(send_difference(transfers, stacked, np.stack(fixed, axis=1) if fixed else None), 1, 0)
    return first, second


#: A wide square is wanted modulo 2^64, its cross product is doubled.
WIDE_BYTES, WIDE_PRODUCT_BITS = 8, 63


def _wide_square_plan(dropped: int) -> list[BitProducts]:
    above = BitProducts((Factor(_product_octets(dropped, WIDE_BYTES)),))
    carry = [BitProducts((Factor(WIDE_BYTES),))] if dropped else []
    return [*carry, above, above]


def wide_square_rounds(dropped: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for ρ_0² and ρ_1²."""
    return (
        *cross_rounds(RING_BITS - dropped, WIDE_PRODUCT_BITS, elements, images),
        *product_rounds(_wide_square_plan(dropped), elements, images),
        Exchange((2 * WIDE_BYTES * images * elements, 0)),
    )


def share_wide_squares(transfers: Transfers, r: np.ndarray, bits: MaskBits, forms: Forms, fixed: Forms) -> Forms:
    """Shares of ρ_0² and ρ_1² modulo 2^64, uint64 [N, E].

    With a and b the parties' r_i >> s, and ρ_1 = a + b + carry − wrap·B, B = 2^(32−s):
    ρ_1² = (a + b)² + (carry − wrap·B)·(a + b + ρ_1), and ρ_0² = ρ_1² − top·B·(2ρ_1 − B).
    """
    dropped, above = bits.dropped, np.uint64(RING_BITS - bits.dropped)
    own = (r >> np.uint32(dropped)).astype(np.uint64)
    product = cross_product(transfers, own, RING_BITS - dropped, WIDE_PRODUCT_BITS)
    _, unsigned = forms
    total = own + unsigned
    doubled = unsigned + unsigned
    if transfers.number == 0:
        doubled -= np.uint64(1) << above
    shared = [bit for bit in (bits.carry, bits.wrap, bits.top) if bit is not None]
    words = [[total]] * (len(shared) - 1) + [[doubled]]
    results = multiply_bits(transfers, _wide_square_plan(dropped), shared, words)
    *carry, wrap, top = (products[0] for products in results)
    square = own * own + product + product - (wrap << above)
    for word in carry:
        square += word
    stacked = np.stack((square - (top << above), square), axis=1)
    first, second = np.moveaxis(send_difference(transfers, stacked, np.stack(fixed, axis=1) if fixed else None), 1, 0)
    return first, second


@dataclass(frozen=True)
class SelectMasks:
    """What a party's seed fixes for comparing and selecting.

    `sign` [N, P]: its share of msb(r) ⊕ r_d. `triples` per level its masks of the AND tree. Party 0's alone: `onehot`
    [N, 120, P], `gates` per level, `bit` [N, E] and `products` its shares of r_d and of r_d·ρ_t.
    """

    sign: np.ndarray
    triples: tuple[np.ndarray, ...]
    onehot: np.ndarray | None = None
    gates: tuple[np.ndarray, ...] = ()
    bit: np.ndarray | None = None
    products: Forms = ()


@dataclass(frozen=True)
class SelectCorrections:
    """Party 1's corrections, in the order in which they are dealt."""

    onehot: np.ndarray
    gates: tuple[np.ndarray, ...]
    words: Forms

    @property
    def ordered(self) -> tuple[np.ndarray, ...]:
        return self.onehot, *self.gates, *self.words


def _select_plan(forms: int) -> list[BitProducts]:
    return [BitProducts((Factor(WORD_BYTES, one_way=True), *(Factor(WORD_BYTES) for _ in range(forms))))]


def select_rounds(forms: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for max(x, 0) on a value with some mask forms."""
    octets = images * plane_bytes(elements)
    return (
        *choice_rounds(1, TRIPLE_TRANSFERS * octets),
        Exchange(((ONEHOT_PLANES + TRIPLE_PLANES) * octets, 0)),
        *product_rounds(_select_plan(forms), elements, images),
        Exchange(((1 + forms) * WORD_BYTES * images * elements, 0)),
    )


def send_select(transfers: Transfers, onehot: np.ndarray, top: np.ndarray, forms: Forms, masks: SelectMasks) -> None:
    """Party 0's part; `onehot` and `top` are its shares for r, `forms` of ρ_t, uint32 [N, E]."""
    images, elements = forms[0].shape
    octets = plane_bytes(elements)
    pads = transfers.answer(images, TRIPLE_TRANSFERS, octets)
    assert masks.onehot is not None
    assert masks.bit is not None
    parts, place = [onehot ^ masks.onehot], 0
    for own, products in zip(masks.triples, masks.gates):
        parts += send_triples(between(pads, place, place + own.shape[1]), own, products)
        place += own.shape[1]
    transfers.exchange(message_of(parts), Exchange(((ONEHOT_PLANES + TRIPLE_PLANES) * images * octets, 0)))
    share = _select_words(transfers, masks.sign ^ top, forms)
    send_difference(transfers, share, np.stack((masks.bit, *masks.products), axis=1))


def receive_select(
    transfers: Transfers, onehot: np.ndarray, top: np.ndarray, forms: Forms, masks: SelectMasks
) -> SelectCorrections:
    """Party 1's part, with its own shares."""
    images, elements = forms[0].shape
    octets = plane_bytes(elements)
    pads = transfers.choose(np.concatenate(masks.triples, axis=1))
    planned = Exchange(((ONEHOT_PLANES + TRIPLE_PLANES) * images * octets, 0))
    received = read_message(transfers.exchange(None, planned), images)
    dealt = onehot ^ received.planes(ONEHOT_PLANES, octets)
    gates, place = [], 0
    for own, count in zip(masks.triples, AND_GATES):
        gates.append(receive_triples(pads[:, place : place + own.shape[1]], own, count, received))
        place += own.shape[1]
    share = _select_words(transfers, masks.sign ^ top, forms)
    words = np.moveaxis(send_difference(transfers, share, None), 1, 0)
    return SelectCorrections(dealt, tuple(gates), tuple(words))


def _select_words(transfers: Transfers, bit: np.ndarray, forms: Forms) -> np.ndarray:
    """Shares of r_d and of r_d·ρ_t from shares of the bit r_d, a plane, and of ρ_t: uint32 [N, 1 + forms, E]."""
    one = np.full(forms[0].shape, 1 - transfers.number, np.uint32)
    products = multiply_bits(transfers, _select_plan(len(forms)), [bit], [[one, *forms]])[0]
    return np.stack(products, axis=1)


def triple_shapes() -> Sequence[tuple[int, int]]:
    """Planes of masks and of products per level of the AND tree."""
    return list(zip(AND_OPENED_PLANES, AND_GATES))
