"""Comparison `onehot`: the dealer shares the one-hot words of the digits of low(r).

Each digit of low(M) is public, so that "less" and "equal" of a digit are linear in the one-hot word of r's digit. Three
levels of AND join the digits of a whole word, a chain in one round those of a narrow one. Nothing but masked bits is
opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..material import Corrections, CorrectionWriter, RandomSource
from ..party import Channel
from ..shared.and_chain import MOST_DIGITS, chain_places, deal_chain
from ..shared.and_tree import BitTriples, deal_bit_triples, draw_bit_triples, join_leaves
from ..shared.bit_planes import indicators, plane_bytes, word_planes
from ..shared.digit_planes import split_digits, split_leaves
from .comparison import Comparison, Cut
from .costs import ONEHOT, and_levels, compared_digits, onehot_planes
from .kernels import kernels
from .masks import Sources


@dataclass(frozen=True)
class OneHotMaterial:
    """Shares of the one-hot words of r's digits, planes [N, 120, P] for whole words; the tree's or chain's triples."""

    onehot: np.ndarray
    triples: BitTriples


class OneHotComparison(Comparison):
    """Four rounds on whole words, with the opening of the sign; material for party 1 alone."""

    name: ClassVar[str] = ONEHOT
    bytes_per_element: ClassVar[int] = 48

    def draw(
        self, number: int, elements: int, source: RandomSource, dealt: Corrections, width: int
    ) -> tuple[OneHotMaterial, np.ndarray]:
        octets = plane_bytes(elements)
        onehot = (source if number == 0 else dealt).planes(onehot_planes(width), octets)
        sign = source.planes(1, octets)[:, 0]
        return OneHotMaterial(onehot, draw_bit_triples(number, octets, source, dealt, and_levels(width))), sign

    def deal(self, mask: np.ndarray, sources: Sources, writer: CorrectionWriter, width: int) -> np.ndarray:
        octets = plane_bytes(mask.shape[1])
        parts = split_digits(word_planes(mask, width - 1))
        onehot = np.concatenate([indicators(part).reshape(len(mask), -1, octets) for part in parts], axis=1)
        writer.put(onehot ^ sources[0].planes(onehot_planes(width), octets))
        sign = sources[0].planes(1, octets)[:, 0] ^ sources[1].planes(1, octets)[:, 0]
        digits = compared_digits(width)
        if digits <= MOST_DIGITS:
            deal_chain(octets, sources, writer, digits)
        else:
            deal_bit_triples(octets, sources, writer, digits)
        return sign

    def cut(self, material: OneHotMaterial, cut: Cut) -> OneHotMaterial:
        triples = [(cut.planes(masks), cut.planes(products)) for masks, products in material.triples]
        return OneHotMaterial(cut.planes(material.onehot), triples)

    def less(
        self, number: int, channel: Channel, opened: np.ndarray, material: OneHotMaterial, width: int
    ) -> np.ndarray:
        steps = kernels()
        leaves = steps.word_leaves(material.onehot, opened)
        digits = compared_digits(width)
        if digits <= MOST_DIGITS:
            masks, products = material.triples[0]
            mine = np.take(leaves, chain_places(digits), axis=1) ^ masks
            opened = mine ^ channel.exchange(mine, mine.nbytes).reshape(mine.shape)
            return steps.join_chain(number, leaves[:, 2 * digits - 3], opened, masks, products)
        return join_leaves(number, channel, *split_leaves(leaves), material.triples)
