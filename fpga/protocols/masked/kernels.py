"""`masked`: the elementwise and bit-plane steps of a party, in C where that can be compiled, else in NumPy.

Both backends compute the same words; the compiled one shows it on small samples before it is used. RRNET_RING_BACKEND
chooses as it does for ring products: any other than `compiled` means NumPy.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import numpy as np

from ...native.backend import choose
from ...native.library import build_library, load_library
from ...program import RING_BITS
from ..shared.bit_planes import exclusive_suffixes, plane_bytes, plane_words, select, word_planes
from ..shared.digit_planes import CHOICE_PLANES, ENTRIES, LOWEST_ENTRIES, plane_blocks, split_digits
from .costs import ONEHOT_PLANES, packed_bytes
from .masks import Forms, lifted_public, select_form

_SOURCE = Path(__file__).with_name("kernels.c")


class NumpyKernels:
    """The steps in NumPy; `number` is the party's."""

    name = "numpy"

    def word_planes(self, words: np.ndarray, bits: int) -> np.ndarray:
        """As `bit_planes.word_planes`."""
        return word_planes(words, bits)

    def leaves(self, onehot: np.ndarray, opened: np.ndarray) -> np.ndarray:
        """Shares of [m < r] per digit and [m = r] per upper digit, planes [N, 1 + 2U, P].

        Args:
            onehot: shares of the one-hot words of r's 1 + U digits, planes [N, 8 + 16U, P].
            opened: planes [N, 3 + 4U, P] of the public m.
        """
        leaves = np.empty((len(opened), 1 + 2 * _upper_digits(onehot), opened.shape[2]), np.uint8)
        for rows, columns in plane_blocks(len(opened), opened.shape[2]):
            block = rows, slice(None), columns
            leaves[block] = _less_and_equal(onehot[block], opened[block])
        return leaves

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

    def reduce(self, number: int, share: np.ndarray, bits: int, mask: np.ndarray) -> np.ndarray:
        """A share, uint32, without `bits` low bits, and the mask added."""
        return reduce_share(number, share, bits) + mask

    def pack(self, words: np.ndarray, width: int) -> np.ndarray:
        """The `width` low bits of words [N, ...], the lowest first: octets [N, ⌈elements·width / 8⌉]."""
        octets = np.ascontiguousarray(words.astype("<u4", copy=False)).reshape(len(words), -1, 1).view(np.uint8)
        bits = np.unpackbits(octets, axis=2, bitorder="little")[:, :, :width]
        return np.packbits(bits.reshape(len(words), -1), axis=1, bitorder="little")

    def add_packed(self, words: np.ndarray, packed: np.ndarray, width: int) -> np.ndarray:
        """Words plus those that are packed, modulo 2^width."""
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


def _upper_digits(onehot: np.ndarray) -> int:
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


class CompiledKernels(NumpyKernels):
    """The same steps in C; raises `CompilationUnavailable` where it cannot be built."""

    name = "compiled"

    def __init__(self) -> None:
        self._library = load_library(build_library(_SOURCE), _SIGNATURES)

    def word_planes(self, words: np.ndarray, bits: int) -> np.ndarray:
        images, elements = words.shape
        words, planes = np.ascontiguousarray(words), np.empty((images, bits, plane_bytes(elements)), np.uint8)
        self._library.word_planes(_address(words), images, elements, bits, _address(planes))
        return planes

    def leaves(self, onehot: np.ndarray, opened: np.ndarray) -> np.ndarray:
        images, _, octets = onehot.shape
        digits = _upper_digits(onehot)
        leaves = np.empty((images, 1 + 2 * digits, octets), np.uint8)
        self._library.plane_leaves(_address(onehot), _address(opened), images, octets, digits, _address(leaves))
        return leaves

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
        public, result = np.ascontiguousarray(public), np.empty(public.shape, np.uint32)
        self._library.plane_select(
            *(_address(sign), _address(public), None if form is None else _address(form), _address(bit)),
            *(_addresses(products), _addresses(masks), *public.shape, int(number == 0), _address(result)),
        )
        return result

    def lift(
        self, number: int, opened: np.ndarray, bits: int, forms: Forms, width: int = RING_BITS
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        word = forms[0].dtype
        public, form, share = (np.empty(opened.shape, kind) for kind in (word, np.uint32, word))
        kernel = self._library.plane_lift_wide if word == np.uint64 else self._library.plane_lift
        kernel(
            *(_address(opened), *map(_address, forms), opened.size, bits, width, int(number == 0)),
            *(_address(public), _address(form), _address(share)),
        )
        return public, form, share

    def square(
        self, number: int, public: np.ndarray, form: np.ndarray | None, masks: Forms, squares: Forms
    ) -> np.ndarray:
        if form is None or public.dtype != np.uint64:
            return super().square(number, public, form, masks, squares)
        result = np.empty(public.shape, np.uint64)
        self._library.plane_square_wide(
            *(_address(public), _address(form), _addresses(masks), _addresses(squares)),
            *(public.size, int(number == 0), _address(result)),
        )
        return result

    def reduce(self, number: int, share: np.ndarray, bits: int, mask: np.ndarray) -> np.ndarray:
        share, mask, result = np.ascontiguousarray(share), np.ascontiguousarray(mask), np.empty(share.shape, np.uint32)
        self._library.plane_reduce(
            *(_address(share), _address(mask), share.size, bits, int(number == 0), _address(result))
        )
        return result

    def pack(self, words: np.ndarray, width: int) -> np.ndarray:
        words = np.ascontiguousarray(words)
        images, elements = len(words), words[0].size
        packed = np.empty((images, packed_bytes(elements, width)), np.uint8)
        self._library.pack_words(_address(words), images, elements, width, _address(packed))
        return packed

    def add_packed(self, words: np.ndarray, packed: np.ndarray, width: int) -> np.ndarray:
        result = np.array(words, order="C")
        self._library.add_packed(_address(packed), len(words), words[0].size, width, _address(result))
        return result


_POINTER, _SIZE, _FLAG = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_LIFT = (None, [*(_POINTER,) * 3, _SIZE, _FLAG, _FLAG, _FLAG, *(_POINTER,) * 3])
_PACK = (None, [_POINTER, _SIZE, _SIZE, _FLAG, _POINTER])
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "word_planes": (None, [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER]),
    "plane_leaves": (None, [_POINTER, _POINTER, _SIZE, _SIZE, _SIZE, _POINTER]),
    "plane_select": (None, [*(_POINTER,) * 6, _SIZE, _SIZE, _FLAG, _POINTER]),
    "plane_lift": _LIFT,
    "plane_lift_wide": _LIFT,
    "plane_square_wide": (None, [*(_POINTER,) * 4, _SIZE, _FLAG, _POINTER]),
    "plane_reduce": (None, [_POINTER, _POINTER, _SIZE, _FLAG, _FLAG, _POINTER]),
    "pack_words": _PACK,
    "add_packed": _PACK,
}


def _address(array: np.ndarray) -> int:
    """Address of an array's data; its owner keeps it alive during the call."""
    if not array.flags.c_contiguous:
        raise ValueError("a kernel needs contiguous words")
    return array.ctypes.data


def _addresses(forms: Forms) -> ctypes.Array[ctypes.c_void_p]:
    """Two pointers, the second null where there is one form."""
    pair = [_address(form) for form in forms]
    return (ctypes.c_void_p * 2)(*pair, *([None] if len(pair) == 1 else []))


@functools.cache
def kernels() -> NumpyKernels:
    """The backend of this process."""
    return choose(CompiledKernels, NumpyKernels, agrees_with_numpy)


def agrees_with_numpy(compiled: NumpyKernels) -> bool:
    """Whether a backend computes the same words as NumPy, on shapes that fill no block."""
    plain, generator = NumpyKernels(), np.random.default_rng(0)
    shape = 2, 777

    def words(kind: type = np.uint32) -> np.ndarray:
        return generator.integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)

    opened = words()
    planes = plain.word_planes(opened, CHOICE_PLANES)
    onehot = generator.integers(0, 256, (2, ONEHOT_PLANES, planes.shape[2]), dtype=np.uint8)
    calls: list[tuple[str, tuple[Any, ...]]] = [("word_planes", (opened, CHOICE_PLANES)), ("leaves", (onehot, planes))]
    calls.append(("leaves", (onehot[:, :56].copy(), planes[:, :15].copy())))
    for width in (7, 16, 24, 29, RING_BITS):
        calls += [("pack", (opened, width)), ("add_packed", (words(), plain.pack(opened, width), width))]
    for number in (0, 1):
        calls.append(("reduce", (number, opened, 7, words())))
        for kind in (np.uint32, np.uint64):
            calls.append(("lift", (number, opened, 9, (words(kind), words(kind)))))
            calls.append(("lift", (number, opened, 0, (words(kind), words(kind)), 16)))
        pairs = (words(), words()), (words(), words())
        calls.append(("select", (number, planes[:, 0].copy(), words(), words() & np.uint32(1), words(), *pairs)))
        calls.append(("select", (number, planes[:, 1].copy(), words(), None, words(), (words(),), (words(),))))
        wide = (words(np.uint64), words(np.uint64)), (words(np.uint64), words(np.uint64))
        calls.append(("square", (number, words(np.uint64), words() & np.uint32(1), *wide)))
    return all(_same(getattr(compiled, name)(*given), getattr(plain, name)(*given)) for name, given in calls)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return bool(np.array_equal(one, other) and one.dtype == other.dtype)
