"""`masked`: the elementwise and bit-plane steps of a party in NumPy, which say what the compiled ones compute."""

from __future__ import annotations

import numpy as np

from ...program import RING_BITS
from ..shared.and_chain import join_chain
from ..shared.bit_planes import exclusive_suffixes, plane_words, select, word_planes
from ..shared.digit_planes import ENTRIES, LOWEST_ENTRIES, plane_blocks, split_digits
from .masks import Forms, lifted_public, select_form


class NumpyKernels:
    """The steps in NumPy; `number` is the party's."""

    name = "numpy"

    def word_planes(self, words: np.ndarray, bits: int) -> np.ndarray:
        """As `bit_planes.word_planes`."""
        return word_planes(words, bits)

    def sign_plane(self, words: np.ndarray, width: int) -> np.ndarray:
        """The highest of the `width` low bits of words [N, E], a plane [N, P]."""
        return np.packbits((words >> np.uint32(width - 1) & np.uint32(1)).astype(np.uint8), axis=-1)

    def leaves(self, onehot: np.ndarray, opened: np.ndarray) -> np.ndarray:
        """Shares of [m < r] per digit and [m = r] per upper digit, planes [N, 1 + 2U, P].

        Args:
            onehot: shares of the one-hot words of r's 1 + U digits, planes [N, 8 + 16U, P].
            opened: planes [N, 3 + 4U, P] of the public m.
        """
        leaves = np.empty((len(opened), 1 + 2 * upper_digits(onehot), opened.shape[2]), np.uint8)
        for rows, columns in plane_blocks(len(opened), opened.shape[2]):
            block = rows, slice(None), columns
            leaves[block] = _less_and_equal(onehot[block], opened[block])
        return leaves

    def join_chain(
        self, number: int, highest: np.ndarray, opened: np.ndarray, masks: np.ndarray, products: np.ndarray
    ) -> np.ndarray:
        """As `and_chain.join_chain`."""
        return join_chain(number, highest, opened, masks, products)

    def select(
        self,
        number: int,
        sign: np.ndarray,
        public: np.ndarray,
        form: np.ndarray | None,
        bit: np.ndarray,
        products: Forms,
        masks: Forms,
    ) -> np.ndarray:
        """Share of s·x for x = A − ρ_t: [i = 0]·ŝ·A − ŝ·ρ_t,i + (1 − 2ŝ)(A·r_d,i − (r_d·ρ_t)_i), uint32 [N, E].

        Args:
            number: this party.
            sign: ŝ = s ⊕ r_d, opened, a plane [N, P].
            public: A; form: t, where there are two forms; bit: share of r_d; products: of r_d·ρ_t; masks: of ρ_t.
        """
        opened = plane_words(sign, public.shape[1])
        mask, product = select_form(masks, form), select_form(products, form)
        result = (np.uint32(1) - opened - opened) * (public * bit - product) - opened * mask
        return result + opened * public if number == 0 else result

    def lift(
        self, number: int, opened: np.ndarray, bits: int, forms: Forms, width: int = RING_BITS
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A, t and a share of z = A − ρ_t, from y + r opened on `width` bits and shares of ρ_0 and ρ_1."""
        public, form = lifted_public(opened, bits, forms[0].dtype == np.uint64, width)
        mask = select_form(forms, form)
        return public, form, public - mask if number == 0 else mask.dtype.type(0) - mask

    def square(
        self, number: int, public: np.ndarray, form: np.ndarray | None, masks: Forms, squares: Forms
    ) -> np.ndarray:
        """q_i = [i = 0]·A² − 2A·ρ_t,i + (ρ_t²)_i."""
        mask, square = select_form(masks, form), select_form(squares, form)
        result = square - (public + public) * mask
        return result + public * public if number == 0 else result

    def mask(
        self, number: int, share: np.ndarray, bits: int, mask: np.ndarray, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A share without `bits` low bits, and the mask added: the words, and as `pack` packs them."""
        words = reduce_share(number, share, bits).astype(np.uint32, copy=False) + mask
        return words, self.pack(words, width)

    def pack(self, words: np.ndarray, width: int) -> np.ndarray:
        """The `width` low bits of words [N, ...], the lowest first: octets [N, ⌈elements·width / 8⌉]."""
        octets = np.ascontiguousarray(words.astype("<u4", copy=False)).reshape(len(words), -1, 1).view(np.uint8)
        bits = np.unpackbits(octets, axis=2, bitorder="little")[:, :, :width]
        return np.packbits(bits.reshape(len(words), -1), axis=1, bitorder="little")

    def add_packed(self, words: np.ndarray, packed: np.ndarray, width: int) -> np.ndarray:
        """Words plus those that are packed, modulo 2^width; the words given may be overwritten."""
        images, elements = len(words), words[0].size
        bits = np.unpackbits(packed.reshape(images, -1), axis=1, count=elements * width, bitorder="little")
        padded = np.zeros((images, elements, RING_BITS), np.uint8)
        padded[:, :, :width] = bits.reshape(images, elements, width)
        other = np.packbits(padded, axis=2, bitorder="little").view("<u4").astype(np.uint32, copy=False)
        return (words + other.reshape(words.shape)) & np.uint32(2**width - 1)


def reduce_share(number: int, share: np.ndarray, bits: int) -> np.ndarray:
    """Drop `bits` low bits of a share modulo 2^k, uint64 or uint32.

    The shares then sum, modulo 2^(k − bits), to the floor or one more.
    """
    shift, zero = share.dtype.type(bits), share.dtype.type(0)
    return share >> shift if number == 0 else zero - ((zero - share) >> shift)


def upper_digits(onehot: np.ndarray) -> int:
    return (onehot.shape[1] - LOWEST_ENTRIES) // ENTRIES


def _less_and_equal(onehot: np.ndarray, opened: np.ndarray) -> np.ndarray:
    """Leaves [N, 15, P] of one block."""
    images, _, octets = onehot.shape
    lowest = onehot[:, :LOWEST_ENTRIES].reshape(images, 1, LOWEST_ENTRIES, octets)
    upper = onehot[:, LOWEST_ENTRIES:].reshape(images, -1, ENTRIES, octets)
    low_digit, digits = split_digits(opened)
    less = select(exclusive_suffixes(lowest), low_digit)
    table = np.stack((exclusive_suffixes(upper), upper), axis=3)
    both = select(table, digits)
    return np.concatenate((less, both.reshape(images, -1, octets)), axis=1)
