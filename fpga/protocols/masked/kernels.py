"""`masked`: the elementwise and bit-plane steps of a party, in C where that can be compiled, else in NumPy.

Both backends compute the same words; the compiled one shows it on small samples before it is used.
`RRNET_RING_BACKEND=limbs` asks for NumPy.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from ...native.backend import choose
from ...native.library import build_library, load_library
from ...native.threads import run_parts
from ...program import RING_BITS
from ..shared.and_chain import MOST_DIGITS, chain_monomials, chain_opened, chain_products
from ..shared.bit_planes import PLANES_SIGNATURE, compiled_planes
from ..shared.digit_planes import CHOICE_PLANES
from .costs import ONEHOT_PLANES, packed_bytes
from .masks import Forms
from .numpy_kernels import NumpyKernels, upper_digits

_SOURCE = Path(__file__).with_name("kernels.c")


class CompiledKernels(NumpyKernels):
    """The same steps in C; raises `CompilationUnavailable` where it cannot be built."""

    name = "compiled"

    def __init__(self) -> None:
        self._library = load_library(build_library(_SOURCE), _SIGNATURES)

    def word_planes(self, words: np.ndarray, bits: int) -> np.ndarray:
        return compiled_planes(self._library, words, 0, bits)

    def sign_plane(self, words: np.ndarray, width: int) -> np.ndarray:
        return compiled_planes(self._library, words, width - 1, width)[:, 0]

    def leaves(self, onehot: np.ndarray, opened: np.ndarray) -> np.ndarray:
        images, _, octets = onehot.shape
        digits = upper_digits(onehot)
        leaves = np.empty((images, 1 + 2 * digits, octets), np.uint8)

        def part(own: slice, count: int) -> None:
            given = _address(onehot[own]), _address(opened[own])
            self._library.plane_leaves(*given, count, octets, digits, _address(leaves[own]))

        _by_images(part, images)
        return leaves

    def join_chain(
        self, number: int, highest: np.ndarray, opened: np.ndarray, masks: np.ndarray, products: np.ndarray
    ) -> np.ndarray:
        result, monomials = highest.copy(), chain_monomials(1 + opened.shape[1] // 2)
        bits, dealt, octets = opened.shape[1], products.shape[1], opened.shape[2]

        def part(own: slice, count: int) -> None:
            self._library.plane_chain(
                *(_address(opened[own]), _address(masks[own]), _address(products[own]), count, octets, bits, dealt),
                *(_address(monomials), len(monomials), int(number == 0), _address(result[own])),
            )

        _by_images(part, len(opened))
        return result

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
        elements = public.shape[1]

        def part(own: slice, count: int) -> None:
            chosen = None if form is None else _address(form[own])
            self._library.plane_select(
                *(_address(sign[own]), _address(public[own]), chosen, _address(bit[own])),
                *(_addresses(products, own), _addresses(masks, own), count, elements),
                *(int(number == 0), _address(result[own])),
            )

        _by_images(part, len(public))
        return result

    def lift(
        self, number: int, opened: np.ndarray, bits: int, forms: Forms, width: int = RING_BITS
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        word = forms[0].dtype
        public, form, share = (np.empty(opened.shape, kind) for kind in (word, np.uint32, word))
        kernel = self._library.plane_lift_wide if word == np.uint64 else self._library.plane_lift

        def part(own: slice, count: int) -> None:
            read = _address(opened[own]), *(_address(mask[own]) for mask in forms)
            written = _address(public[own]), _address(form[own]), _address(share[own])
            kernel(*read, count * opened[0].size, bits, width, int(number == 0), *written)

        _by_images(part, len(opened))
        return public, form, share

    def square(
        self, number: int, public: np.ndarray, form: np.ndarray | None, masks: Forms, squares: Forms
    ) -> np.ndarray:
        if form is None or public.dtype != np.uint64:
            return super().square(number, public, form, masks, squares)
        result = np.empty(public.shape, np.uint64)

        def part(own: slice, count: int) -> None:
            self._library.plane_square_wide(
                *(_address(public[own]), _address(form[own]), _addresses(masks, own), _addresses(squares, own)),
                *(count * public[0].size, int(number == 0), _address(result[own])),
            )

        _by_images(part, len(public))
        return result

    def mask(
        self, number: int, share: np.ndarray, bits: int, mask: np.ndarray, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        share, mask, words = np.ascontiguousarray(share), np.ascontiguousarray(mask), np.empty(share.shape, np.uint32)
        images, elements = len(words), words[0].size
        whole = width == RING_BITS  # packed, they are the words themselves
        packed = words.view(np.uint8) if whole else np.empty((images, packed_bytes(elements, width)), np.uint8)
        kernel = self._library.mask_wide_words if share.dtype == np.uint64 else self._library.mask_words

        def part(own: slice, count: int) -> None:
            given = _address(share[own]), _address(mask[own]), count, elements, bits, int(number == 0), width
            kernel(*given, _address(words[own]), _address(packed[own]))

        _by_images(part, images)
        return words, packed.reshape(images, -1)

    def pack(self, words: np.ndarray, width: int) -> np.ndarray:
        words = np.ascontiguousarray(words)
        images, elements = len(words), words[0].size
        packed = np.empty((images, packed_bytes(elements, width)), np.uint8)
        self._library.pack_words(_address(words), images, elements, width, _address(packed))
        return packed

    def add_packed(self, words: np.ndarray, packed: np.ndarray, width: int) -> np.ndarray:
        result = np.ascontiguousarray(words)
        elements = words[0].size

        def part(own: slice, count: int) -> None:
            self._library.add_packed(_address(packed[own]), count, elements, width, _address(result[own]))

        _by_images(part, len(words))
        return result


def _by_images(work: Callable[[slice, int], None], images: int) -> None:
    """Let every thread do its images: which they are, and how many."""
    run_parts(lambda first, end: work(slice(first, end), end - first), images)


_POINTER, _SIZE, _FLAG = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_LIFT = (None, [*(_POINTER,) * 3, _SIZE, _FLAG, _FLAG, _FLAG, *(_POINTER,) * 3])
_MASK = (None, [_POINTER, _POINTER, _SIZE, _SIZE, _FLAG, _FLAG, _FLAG, _POINTER, _POINTER])
_PACK = (None, [_POINTER, _SIZE, _SIZE, _FLAG, _POINTER])
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "word_planes": PLANES_SIGNATURE,
    "plane_leaves": (None, [_POINTER, _POINTER, _SIZE, _SIZE, _SIZE, _POINTER]),
    "plane_chain": (None, [*(_POINTER,) * 3, *(_SIZE,) * 4, _POINTER, _SIZE, _FLAG, _POINTER]),
    "plane_select": (None, [*(_POINTER,) * 6, _SIZE, _SIZE, _FLAG, _POINTER]),
    "plane_lift": _LIFT,
    "plane_lift_wide": _LIFT,
    "plane_square_wide": (None, [*(_POINTER,) * 4, _SIZE, _FLAG, _POINTER]),
    "mask_words": _MASK,
    "mask_wide_words": _MASK,
    "pack_words": _PACK,
    "add_packed": _PACK,
}


def _address(array: np.ndarray) -> int:
    """Address of an array's data; its owner keeps it alive during the call."""
    if not array.flags.c_contiguous:
        raise ValueError("a kernel needs contiguous words")
    place: int = array.__array_interface__["data"][0]
    return place


def _addresses(forms: Forms, images: slice) -> ctypes.Array[ctypes.c_void_p]:
    """Two pointers to those images, the second null where there is one form."""
    pair = [_address(form[images]) for form in forms]
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
    for digits in range(2, MOST_DIGITS + 1):
        counts = chain_opened(digits), chain_opened(digits), len(chain_products(digits))
        chain = [generator.integers(0, 256, (2, count, planes.shape[2]), dtype=np.uint8) for count in counts]
        calls += [("join_chain", (number, planes[:, 0].copy(), *chain)) for number in (0, 1)]
    for width in (7, 16, 24, 29, RING_BITS):
        calls.append(("sign_plane", (opened, width)))
        calls += [("pack", (opened, width)), ("add_packed", (words(), plain.pack(opened, width), width))]
    for number in (0, 1):
        calls += [
            ("mask", (number, opened, bits, words(), width)) for bits, width in ((7, 17), (0, 24), (9, RING_BITS))
        ]
        for kind in (np.uint32, np.uint64):
            calls.append(("lift", (number, opened, 9, (words(kind), words(kind)))))
            calls.append(("lift", (number, opened, 0, (words(kind), words(kind)), 16)))
        pairs = (words(), words()), (words(), words())
        calls.append(("select", (number, planes[:, 0].copy(), words(), words() & np.uint32(1), words(), *pairs)))
        calls.append(("select", (number, planes[:, 1].copy(), words(), None, words(), (words(),), (words(),))))
        wide = (words(np.uint64), words(np.uint64)), (words(np.uint64), words(np.uint64))
        calls.append(("square", (number, words(np.uint64), words() & np.uint32(1), *wide)))
    return all(_same(getattr(compiled, name)(*deepcopy(given)), getattr(plain, name)(*given)) for name, given in calls)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return bool(np.array_equal(one, other) and one.dtype == other.dtype)
