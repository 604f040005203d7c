"""Material of `masked` from shares of the bits of a wire's mask r = r_0 + r_1: lifted forms, squares, selections.

What each function returns at party 0 is what its seed fixes (`fixed`), at party 1 its corrections. Words of the other
party's are never seen: everything that is sent is a pad's, or the difference to a share that a seed fixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....cost.protocol import Exchange
from ....program import WORD_BYTES
from ...shared.bit_planes import plane_bytes, spread_plane
from ...shared.oblivious_transfer.bit_words import BitProducts, Factor, multiply_bits, product_rounds
from ...shared.oblivious_transfer.cross_products import cross_product, cross_rounds
from ...shared.oblivious_transfer.transfers import Transfers, choice_rounds, send_difference
from .compared_material import compared_stages, receive_compared, send_compared

Forms = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class MaskBits:
    """A party's shares of what lifting r needs, planes [N, P].

    `carry` out of the s bits that are `dropped` (None for s = 0), `wrap` out of the word, which has w bits (`width`),
    `top` the top bit of r.
    """

    width: int
    dropped: int
    carry: np.ndarray | None
    wrap: np.ndarray
    top: np.ndarray

    @property
    def kept(self) -> int:
        """Bits of r >> s."""
        return self.width - self.dropped

    def shared(self, factors: int) -> list[np.ndarray]:
        """The bits that meet words: as many as there are products."""
        return [bit for bit in (self.carry, self.wrap, self.top) if bit is not None][:factors]


def _lift_plan(kept: int, dropped: int, word_bytes: int, one_way: bool) -> list[BitProducts]:
    """Products of carry, wrap and top; the latter two are multiplied by 2^kept, and vanish where that does."""
    octets = -(-(8 * word_bytes - kept) // 8)
    above = [BitProducts((Factor(octets, one_way),))] * 2 if octets else []
    return [*([BitProducts((Factor(word_bytes, one_way),))] if dropped else []), *above]


def lift_rounds(width: int, dropped: int, word_bytes: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for the forms ρ_0 and ρ_1."""
    plan = _lift_plan(width - dropped, dropped, word_bytes, one_way=True)
    products = product_rounds(plan, elements, images) if plan else ()
    return (*products, Exchange((2 * word_bytes * images * elements, 0)))


def share_forms(transfers: Transfers, r: np.ndarray, bits: MaskBits, dtype: np.dtype, fixed: Forms) -> Forms:
    """Shares of ρ_1 = r >> s and ρ_0 = ρ_1 − top·2^(w−s), both [N, E] of `dtype`, for the low w bits of r.

    r >> s is (r_0 >> s) + (r_1 >> s) + carry − wrap·2^(w−s). `fixed` are party 0's (ρ_0, ρ_1), empty at party 1.
    """
    plan = _lift_plan(bits.kept, bits.dropped, dtype.itemsize, one_way=True)
    one = np.full(r.shape, 1 - transfers.number, dtype)
    unsigned = _dropped(r, bits).astype(dtype)
    signed = unsigned
    if plan:
        results = multiply_bits(transfers, plan, bits.shared(len(plan)), [[one]] * len(plan))
        carry, wrap, top = _by_bit([products[0] for products in results], bits, np.zeros_like(one))
        unsigned = unsigned + carry - (wrap << dtype.type(bits.kept))
        signed = unsigned - (top << dtype.type(bits.kept))
    return _shifted_pair(transfers, signed, unsigned, fixed)


def _dropped(r: np.ndarray, bits: MaskBits) -> np.ndarray:
    """A party's r >> s, of the low w bits."""
    return np.asarray((r & np.uint32(2**bits.width - 1)) >> np.uint32(bits.dropped))


def _by_bit(products: list[np.ndarray], bits: MaskBits, zero: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products with carry, wrap and top: those that were not made are zero."""
    carry = products.pop(0) if bits.carry is not None else zero
    wrap, top = products or (zero, zero)
    return carry, wrap, top


def _shifted_pair(transfers: Transfers, first: np.ndarray, second: np.ndarray, fixed: Forms) -> Forms:
    """Two words shifted to the shares that party 0's seed fixes."""
    stacked = np.stack((first, second), axis=1)
    both = send_difference(transfers, stacked, np.stack(fixed, axis=1) if fixed else None)
    return both[:, 0], both[:, 1]


#: A wide square is wanted modulo 2^64, its cross product is doubled.
WIDE_BYTES, WIDE_PRODUCT_BITS = 8, 63


def wide_square_rounds(width: int, dropped: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for ρ_0² and ρ_1²."""
    kept = width - dropped
    return (
        *cross_rounds(kept, WIDE_PRODUCT_BITS, elements, images),
        *product_rounds(_lift_plan(kept, dropped, WIDE_BYTES, one_way=False), elements, images),
        Exchange((2 * WIDE_BYTES * images * elements, 0)),
    )


def share_wide_squares(transfers: Transfers, r: np.ndarray, bits: MaskBits, forms: Forms, fixed: Forms) -> Forms:
    """Shares of ρ_0² and ρ_1² modulo 2^64, uint64 [N, E].

    With a and b the parties' r_i >> s, and ρ_1 = a + b + carry − wrap·B, B = 2^(w−s):
    ρ_1² = (a + b)² + (carry − wrap·B)·(a + b + ρ_1), and ρ_0² = ρ_1² − top·B·(2ρ_1 − B).
    """
    above = np.uint64(bits.kept)
    own, unsigned = _dropped(r, bits).astype(np.uint64), forms[1]
    product = cross_product(transfers, own, bits.kept, WIDE_PRODUCT_BITS)
    total, doubled = own + unsigned, unsigned + unsigned
    if transfers.number == 0:
        doubled = doubled - (np.uint64(1) << above)
    plan = _lift_plan(bits.kept, bits.dropped, WIDE_BYTES, one_way=False)
    words = [[total]] * (len(plan) - 1) + [[doubled]]
    results = multiply_bits(transfers, plan, bits.shared(len(plan)), words)
    carry, wrap, top = _by_bit([products[0] for products in results], bits, np.zeros_like(own))
    square = own * own + product + product + carry - (wrap << above)
    return _shifted_pair(transfers, square - (top << above), square, fixed)


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


def _chosen_plan(forms: int) -> list[BitProducts]:
    return [BitProducts(tuple(Factor(WORD_BYTES) for _ in range(forms)))]


def select_rounds(width: int, forms: int, elements: int, images: int, signs: int | None = None) -> tuple[Exchange, ...]:
    """What both parties send for choosing elements with some mask forms by as many signs, or fewer, of `width` bits."""
    signs = elements if signs is None else signs
    compared = tuple(
        each
        for transfers, planes in compared_stages(width)
        for each in (
            *choice_rounds(1, transfers * images * plane_bytes(signs)),
            Exchange((planes * images * plane_bytes(signs), 0)),
        )
    )
    word = WORD_BYTES * images
    if signs == elements:
        chosen = (*product_rounds(_select_plan(forms), elements, images), Exchange(((1 + forms) * word * elements, 0)))
        return compared + chosen
    return (
        *compared,
        *product_rounds(_select_plan(0), signs, images),
        Exchange((word * signs, 0)),
        *product_rounds(_chosen_plan(forms), elements, images),
        Exchange((forms * word * elements, 0)),
    )


def send_select(
    transfers: Transfers,
    width: int,
    onehot: np.ndarray,
    top: np.ndarray,
    forms: Forms,
    masks: SelectMasks,
    index: np.ndarray | None = None,
) -> None:
    """Party 0's part; `onehot` and `top` are its shares for r, `forms` of ρ_t, uint32 [N, E].

    `index`: the sign of each element, int64 [E]; None where each has its own.
    """
    assert masks.onehot is not None
    assert masks.bit is not None
    send_compared(transfers, width, onehot ^ masks.onehot, masks.triples, masks.gates)
    _select_words(transfers, masks.sign ^ top, forms, (masks.bit, *masks.products), masks.bit.shape[1], index)


def receive_select(
    transfers: Transfers,
    width: int,
    onehot: np.ndarray,
    top: np.ndarray,
    forms: Forms,
    masks: SelectMasks,
    signs: int,
    index: np.ndarray | None = None,
) -> SelectCorrections:
    """Party 1's part, with its own shares."""
    sent, gates = receive_compared(transfers, width, masks.triples)
    words = _select_words(transfers, masks.sign ^ top, forms, (), signs, index)
    return SelectCorrections(onehot ^ sent, gates, words)


def _select_words(
    transfers: Transfers, bit: np.ndarray, forms: Forms, fixed: Forms, signs: int, index: np.ndarray | None
) -> Forms:
    """Party 1's words of r_d [N, S] and of r_d·ρ_t [N, E], from shares of the bit r_d, a plane, and of ρ_t.

    `fixed`: what party 0's seed fixes as its shares.
    """
    one = np.full((len(bit), signs), 1 - transfers.number, np.uint32)
    if index is None:
        products = multiply_bits(transfers, _select_plan(len(forms)), [bit], [[one, *forms]])[0]
        return _differences(transfers, products, fixed)
    own = multiply_bits(transfers, _select_plan(0), [bit], [[one]])[0]
    words = _differences(transfers, own, fixed[:1])
    spread = spread_plane(bit, signs, index)
    chosen = multiply_bits(transfers, _chosen_plan(len(forms)), [spread], [list(forms)])[0]
    return words + _differences(transfers, chosen, fixed[1:])


def _differences(transfers: Transfers, shares: Sequence[np.ndarray], fixed: Forms) -> Forms:
    """Party 0 tells how far its shares are from what its seed fixes; party 1 gets its words."""
    sent = send_difference(transfers, np.stack(shares, axis=1), np.stack(fixed, axis=1) if fixed else None)
    return () if fixed else tuple(np.moveaxis(sent, 1, 0))
