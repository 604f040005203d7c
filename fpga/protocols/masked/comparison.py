"""max(x, 0) on an opened word: the sign of y = M − r, masked and opened, selects x.

y is negative as msb(M) ⊕ msb(r) ⊕ [low(M) < low(r)] says. How the parties come by shares of that comparison is a
`Comparison`; of its result only a masked bit is opened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from ...program.operators import MaxPool
from ..material import Corrections, CorrectionWriter, RandomSource
from ..party import Channel
from ..shared.bit_planes import plane_words, spread_plane
from ..shared.pool_tree import first_differences, pool_levels
from .kernels import kernels
from .masks import Forms, Lifting, Sources, ring_mask


class Cut(Protocol):
    """Cuts the elements of a band out of those of a tensor."""

    def flat(self, words: np.ndarray) -> np.ndarray:
        """[N, E, ...] -> [N, E of the band, ...]."""

    def planes(self, planes: np.ndarray) -> np.ndarray:
        """[N, ..., P] -> [N, ..., P of the band]."""


class Comparison(ABC):
    """Shares of [low(M) < low(r)], on the w − 1 low bits of a public M and a dealt mask r, uint32 [N, E] both.

    `width` is w, the bits of the opened word: a multiple of four from 8 to 32.
    """

    name: ClassVar[str]
    #: Working memory of a party, roughly.
    bytes_per_element: ClassVar[int]

    def load(self) -> None:  # noqa: B027 most comparisons have nothing to load
        """Make ready what `less` needs beside its material."""

    @abstractmethod
    def draw(
        self, number: int, elements: int, source: RandomSource, dealt: Corrections, width: int
    ) -> tuple[Any, np.ndarray]:
        """A party's material, and its share of the sign's mask r_d ⊕ msb(r), a plane [N, P]."""

    @abstractmethod
    def deal(self, mask: np.ndarray, sources: Sources, writer: CorrectionWriter, width: int) -> np.ndarray:
        """Corrections for a mask r; returns the plane r_d ⊕ msb(r), which both expansions make."""

    @abstractmethod
    def cut(self, material: Any, cut: Cut) -> Any:
        """The material of a band of elements, of which `cut` tells those of a tensor."""

    @abstractmethod
    def less(self, number: int, channel: Channel, opened: np.ndarray, material: Any, width: int) -> np.ndarray:
        """A share of the comparison of the opened words, a plane [N, P]."""


@dataclass(frozen=True)
class SelectMaterial:
    """One party's material for max(x, 0) on N x E elements.

    `comparison`: material of the comparison; `sign` a share of msb(r) ⊕ r_d; `mask` of r where x = M − r is not lifted;
    `bit` the share of r_d, one for every sign, and `products` of r_d·ρ_t.
    """

    comparison: Any
    sign: np.ndarray
    mask: np.ndarray | None
    bit: np.ndarray
    products: Forms


def draw_select(
    comparison: Comparison,
    number: int,
    masks: Forms,
    source: RandomSource,
    dealt: Corrections,
    width: int,
    signs: int | None = None,
) -> SelectMaterial:
    """This party's material, for mask forms uint32 [N, E] and as many signs, or fewer."""
    elements = masks[0].shape[1]
    signs = elements if signs is None else signs
    material, sign = comparison.draw(number, signs, source, dealt, width)
    own: RandomSource | Corrections = source if number == 0 else dealt
    bit = own.words(signs)
    mask = masks[0] if len(masks) == 1 else None
    return SelectMaterial(material, sign, mask, bit, tuple(own.words(elements) for _ in masks))


def draw_pool(
    comparison: Comparison,
    number: int,
    shape: MaxPool,
    mask: np.ndarray | None,
    source: RandomSource,
    dealt: Corrections,
    width: int,
) -> tuple[tuple[SelectMaterial, ...], tuple[np.ndarray, ...]]:
    """This party's material of every level of a MaxPool tree, and the masks of the differences that it compares.

    `mask`: this party's share of the input's, uint32 [N, C, H, W].
    """
    selects, level_masks = [], []
    for level, comparisons in enumerate(pool_levels(shape)):
        if level == 0 and mask is not None:
            difference_mask = first_differences(mask, shape)
        else:
            difference_mask = source.words(comparisons)
        level_masks.append(difference_mask)
        selects.append(draw_select(comparison, number, (difference_mask,), source, dealt, width))
    return tuple(selects), tuple(level_masks)


def deal_select(
    comparison: Comparison,
    mask: np.ndarray,
    forms: Forms,
    sources: Sources,
    writer: CorrectionWriter,
    width: int,
    index: np.ndarray | None = None,
) -> None:
    """Corrections: `mask` uint32 [N, S] is r of the opened word, `forms` the ρ_t of what is selected, [N, E].

    `index`: the sign of each element, int64 [E]; None where each has its own.
    """
    sign = comparison.deal(mask, sources, writer, width)
    bit = plane_words(sign, mask.shape[1]) ^ top_bit(mask, width)
    writer.put(bit - sources[0].words(mask.shape[1]))
    chosen = bit if index is None else bit[:, index]
    for form in forms:
        writer.put(chosen * form - sources[0].words(form.shape[1]))


def evaluate_select(
    comparison: Comparison,
    number: int,
    channel: Channel,
    opened: np.ndarray,
    word: np.ndarray,
    lifting: Lifting | None,
    own: np.ndarray | None,
    material: SelectMaterial,
    width: int,
    index: np.ndarray | None = None,
) -> np.ndarray:
    """Share of max(x, 0), uint32 [N, E]; the comparison's rounds and one more.

    Args:
        comparison: how words are compared.
        number: this party.
        channel: to the other party.
        opened: the public word M of which x has the sign: sign(x) = sign(M − r).
        word: the public word from which x = A − ρ_t follows.
        lifting: how it does; None where x = M − r.
        own: this party's share of a lifted x.
        material: this party's.
        width: bits of the opened word.
        index: the sign of each element, int64 [E], where `opened` has other words than x, [N, S]: x · [M − r > 0].
    """
    if index is not None:
        opened = (opened - np.uint32(1)) & ring_mask(width)  # s > 0 where s − 1 is not negative
    masked = comparison.less(number, channel, opened, material.comparison, width) ^ material.sign
    if number == 0:
        masked ^= ~kernels().sign_plane(opened, width)
    sign = masked ^ channel.exchange(masked, masked.nbytes).reshape(masked.shape)
    bit = material.bit
    if index is not None:
        sign = spread_plane(sign, opened.shape[1], index)
        bit = np.take(bit, index, axis=1)
    known = material.mask if own is None else own
    assert known is not None, "a value that is not lifted has a mask"
    return kernels().select(number, sign, word, lifting, known, bit, material.products)


def top_bit(words: np.ndarray, width: int) -> np.ndarray:
    """The sign of words of `width` bits, uint32."""
    return (words >> np.uint32(width - 1)) & np.uint32(1)
