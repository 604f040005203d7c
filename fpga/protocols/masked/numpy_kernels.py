"""`masked`: the elementwise and bit-plane steps of a party in NumPy, which say what the compiled ones compute."""

from __future__ import annotations

import numpy as np

from ...program import RING_BITS
from ..shared.and_chain import join_chain
from ..shared.bit_planes import exclusive_suffixes, plane_words, select, word_planes
from ..shared.digit_planes import DIGIT, ENTRIES, LOWEST, LOWEST_ENTRIES, plane_blocks, split_digits
from .masks import Forms, Lifting, lifted_public, select_form


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

    def word_leaves(self, onehot: np.ndarray, words: np.ndarray) -> np.ndarray:
        """As `leaves`, of words m, uint32 [N, E]."""
        return self.leaves(onehot, self.word_planes(words, LOWEST + DIGIT * upper_digits(onehot)))

    def select(
        self,
        number: int,
        sign: np.ndarray,
        opened: np.ndarray,
        lifting: Lifting | None,
        own: np.ndarray,
        bit: np.ndarray,
        products: Forms,
    ) -> np.ndarray:
        """Share of s·x for x = A − ρ_t: (1 − 2ŝ)(A·r_d,i − (r_d·ρ_t)_i) + ŝ·x_i, uint32 [N, E].

        Args:
            number: this party.
            sign: ŝ = s ⊕ r_d, opened, a plane [N, P].
            opened: the word M from which A and t follow by `lifting`; None where x = M − r.
            own: share of x; of r where x is M − r.
            bit: share of r_d; products: of r_d·ρ_t.
        """
        signs = plane_words(sign, opened.shape[1])
        if lifting is None:
            public, product, share = opened, products[0], _unmasked(number, opened, own)
        else:
            public, form = lifted_public(opened, lifting, wide=False)
            product, share = select_form(products, form), own
        return (np.uint32(1) - signs - signs) * (public * bit - product) + signs * share

    def lift(self, number: int, opened: np.ndarray, lifting: Lifting, forms: Forms) -> np.ndarray:
        """A share of z = A − ρ_t, from the opened word and shares of ρ_0 and ρ_1."""
        public, form = lifted_public(opened, lifting, forms[0].dtype == np.uint64)
        return _unmasked(number, public, select_form(forms, form))

    def square(
        self, number: int, opened: np.ndarray, lifting: Lifting | None, own: np.ndarray, squares: Forms
    ) -> np.ndarray:
        """q_i = [i = 0]·A² − 2A·ρ_t,i + (ρ_t²)_i = 2A·z_i − [i = 0]·A² + (ρ_t²)_i.

        Args as in `select`; z is wide where `own`, its share, is.
        """
        if lifting is None:
            public, square, share = opened, squares[0], _unmasked(number, opened, own)
        else:
            public, form = lifted_public(opened, lifting, own.dtype == np.uint64)
            square, share = select_form(squares, form), own
        result = square + (public + public) * share
        return result - public * public if number == 0 else result

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


def _unmasked(number: int, public: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A share of A − ρ."""
    return public - mask if number == 0 else mask.dtype.type(0) - mask


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
