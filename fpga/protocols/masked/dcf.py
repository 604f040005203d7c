"""Comparison `dcf`: the dealer makes a comparison function of low(r), and each party evaluates its key on low(M).

No message is needed for shares of the comparison. A party's root comes from its own expansion; the correction words are
dealt to both, 400 B per element for whole words. The keys of the hash follow from the number of the set.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import numpy as np

from ...program import RING_BITS
from ..material import Corrections, CorrectionWriter, RandomSource
from ..party import Channel
from ..shared.bit_planes import plane_bytes
from .comparison import Comparison, Cut
from .comparison_functions import HashKeys, functions, hash_keys
from .costs import BLOCK_BYTES, DCF, key_blocks
from .masks import Sources

#: Roots uint64 [N, E, 2], per image correction words uint64 [blocks, E, 2], and the keys of the hash.
KeyMaterial: TypeAlias = tuple[np.ndarray, list[np.ndarray], HashKeys]


class DcfComparison(Comparison):
    """One round, which opens the sign."""

    name: ClassVar[str] = DCF
    bytes_per_element: ClassVar[int] = BLOCK_BYTES * (key_blocks(RING_BITS) + 1)

    def load(self) -> None:
        functions()

    def draw(
        self, number: int, elements: int, source: RandomSource, dealt: Corrections, width: int
    ) -> tuple[KeyMaterial, np.ndarray]:
        root = _root(number, source.wide_words(elements, 2))
        corrections = dealt.wide_rows(key_blocks(width), elements, 2)
        return (root, corrections, hash_keys(source.set_id)), source.planes(1, plane_bytes(elements))[:, 0]

    def deal(self, mask: np.ndarray, sources: Sources, writer: CorrectionWriter, width: int) -> np.ndarray:
        images, elements = mask.shape
        zero, one = (_root(number, source.wide_words(elements, 2)) for number, source in enumerate(sources))
        hashed = hash_keys(sources[0].set_id)
        keys = [
            functions().generate(mask[image], (zero[image], one[image]), hashed, width - 1) for image in range(images)
        ]
        writer.put_for_both(np.stack(keys))
        octets = plane_bytes(elements)
        return np.asarray(sources[0].planes(1, octets)[:, 0] ^ sources[1].planes(1, octets)[:, 0])

    def cut(self, material: KeyMaterial, cut: Cut) -> KeyMaterial:
        roots, dealt, hashed = material
        return cut.flat(roots), [cut.flat(words) for words in dealt], hashed

    def less(self, number: int, channel: Channel, opened: np.ndarray, material: KeyMaterial, width: int) -> np.ndarray:
        roots, dealt, hashed = material
        keys = zip(opened, roots, dealt, strict=True)
        shares = [functions().evaluate(points, root, words, hashed, width - 1) for points, root, words in keys]
        return np.packbits(np.stack(shares), axis=-1)


def _root(number: int, blocks: np.ndarray) -> np.ndarray:
    """A key's first blocks: the lowest bit is the key's number, so that the two differ in it."""
    low = np.uint64(1)
    blocks[..., 0] = (blocks[..., 0] & ~low) | np.uint64(number)
    return blocks
