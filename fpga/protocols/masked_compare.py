"""Comparison on an opened word: the sign of y = M − r from the public M and dealt one-hot words of r's digits.

y is negative as msb(M) ⊕ msb(r) ⊕ [low(M) < low(r)] says. Each digit of low(M) is public, so that "less" and "equal" of
that digit are linear in the one-hot word of r's digit; three levels of AND join the digits. Nothing but masked bits is
opened.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .beaver_ot import CHOICE_PLANES, plane_bytes
from .beaver_ot_compare import (
    BitTriples,
    deal_bit_triples,
    draw_bit_triples,
    join_leaves,
    split_digits,
    split_leaves,
)
from .bit_planes import indicators, plane_words, word_planes
from .masked import ONEHOT_PLANES
from .masked_kernels import kernels
from .material import Corrections, CorrectionWriter, RandomSource
from .party import Channel


@dataclass(frozen=True)
class SelectMaterial:
    """One party's material for max(x, 0) on N x E elements.

    `onehot` planes of r's digits; `sign` a share of msb(r) ⊕ r_d; `masks` the forms ρ_t of x = A − ρ_t; `bit` the share
    of r_d and `products` of r_d·ρ_t.
    """

    onehot: np.ndarray
    sign: np.ndarray
    triples: BitTriples
    masks: tuple[np.ndarray, ...]
    bit: np.ndarray
    products: tuple[np.ndarray, ...]


def draw_select(number: int, masks: tuple[np.ndarray, ...], source: RandomSource, dealt: Corrections) -> SelectMaterial:
    """This party's material, for mask forms uint32 [N, E]."""
    elements = masks[0].shape[1]
    octets = plane_bytes(elements)
    own: RandomSource | Corrections = source if number == 0 else dealt
    onehot = own.planes(ONEHOT_PLANES, octets)
    sign = source.planes(1, octets)[:, 0]
    triples = draw_bit_triples(number, octets, source, dealt)
    bit = own.words(elements)
    return SelectMaterial(onehot, sign, triples, masks, bit, tuple(own.words(elements) for _ in masks))


def deal_select(
    mask: np.ndarray,
    forms: tuple[np.ndarray, ...],
    sources: tuple[RandomSource, RandomSource],
    writer: CorrectionWriter,
) -> None:
    """Party 1's part: `mask` uint32 [N, E] is r of the opened word, `forms` the ρ_t of the value that is selected."""
    elements = mask.shape[1]
    octets = plane_bytes(elements)
    digits = split_digits(word_planes(mask, CHOICE_PLANES))
    onehot = np.concatenate([indicators(part).reshape(len(mask), -1, octets) for part in digits], axis=1)
    writer.put(onehot ^ sources[0].planes(ONEHOT_PLANES, octets))
    sign = sources[0].planes(1, octets)[:, 0] ^ sources[1].planes(1, octets)[:, 0]
    deal_bit_triples(octets, sources, writer)
    bit = plane_words(sign, elements) ^ (mask >> np.uint32(31))
    writer.put(bit - sources[0].words(elements))
    for form in forms:
        writer.put(bit * form - sources[0].words(elements))


def evaluate_select(
    number: int,
    channel: Channel,
    opened: np.ndarray,
    public: np.ndarray,
    form: np.ndarray | None,
    material: SelectMaterial,
) -> np.ndarray:
    """Share of max(x, 0) for x = A − ρ_t, uint32 [N, E]; four rounds.

    Args:
        number: this party.
        channel: to the other party.
        opened: the public word M of which x has the sign: sign(x) = sign(M − r).
        public: A.
        form: t per element where there are two forms, else None.
        material: this party's.
    """
    steps = kernels()
    leaves = steps.leaves(material.onehot, steps.word_planes(opened, CHOICE_PLANES))
    less = join_leaves(number, channel, *split_leaves(leaves), material.triples)
    masked = less ^ material.sign
    if number == 0:
        masked ^= ~np.packbits((opened >> np.uint32(31)).astype(np.uint8), axis=-1)
    sign = masked ^ channel.exchange(masked, masked.nbytes).reshape(masked.shape)
    return steps.select(number, sign, public, form, material.bit, material.products, material.masks)
