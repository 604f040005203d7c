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
from ...native.library import OPTIONS, address, build_library, load_library
from ...native.threads import run_parts
from ...program import RING_BITS
from ..shared.and_chain import MOST_DIGITS, chain_monomials, chain_opened, chain_products
from ..shared.bit_planes import PLANES_SIGNATURE, compiled_planes
from ..shared.digit_planes import CHOICE_PLANES
from .costs import ONEHOT_PLANES, packed_bytes
from .masks import Forms, Lifting
from .numpy_kernels import NumpyKernels, upper_digits

_SOURCE = Path(__file__).with_name("kernels.c")


class CompiledKernels(NumpyKernels):
    """The same steps in C; raises `CompilationUnavailable` where it cannot be built."""

    name = "compiled"

    def __init__(self, options: tuple[str, ...] = OPTIONS) -> None:
        self._library = load_library(build_library(_SOURCE, options), _SIGNATURES)

    def word_planes(self, words: np.ndarray, bits: int) -> np.ndarray:
        return compiled_planes(self._library, words, 0, bits)

    def sign_plane(self, words: np.ndarray, width: int) -> np.ndarray:
        return compiled_planes(self._library, words, width - 1, width)[:, 0]

    def word_leaves(self, onehot: np.ndarray, words: np.ndarray) -> np.ndarray:
        images, _, octets = onehot.shape
        digits, words = upper_digits(onehot), np.ascontiguousarray(words)
        leaves = np.empty((images, 1 + 2 * digits, octets), np.uint8)

        def part(own: slice, count: int) -> None:
            given = address(onehot[own]), address(words[own])
            self._library.word_leaves(*given, count, words.shape[1], digits, address(leaves[own]))

        _by_images(part, images)
        return leaves

    def join_chain(
        self, number: int, highest: np.ndarray, opened: np.ndarray, masks: np.ndarray, products: np.ndarray
    ) -> np.ndarray:
        result, monomials = highest.copy(), chain_monomials(1 + opened.shape[1] // 2)
        bits, dealt, octets = opened.shape[1], products.shape[1], opened.shape[2]

        def part(own: slice, count: int) -> None:
            self._library.plane_chain(
                *(address(opened[own]), address(masks[own]), address(products[own]), count, octets, bits, dealt),
                *(address(monomials), len(monomials), int(number == 0), address(result[own])),
            )

        _by_images(part, len(opened))
        return result

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
        result, how = np.empty(opened.shape, np.uint32), lifting or Lifting()
        elements = opened.shape[1]

        def part(images: slice, count: int) -> None:
            self._library.plane_select(
                *(address(sign[images]), address(opened[images]), how.bits, how.width, address(own[images])),
                *(address(bit[images]), _addresses(products, images), count, elements, int(number == 0)),
                address(result[images]),
            )

        _by_images(part, len(opened))
        return result

    def lift(self, number: int, opened: np.ndarray, lifting: Lifting, forms: Forms) -> np.ndarray:
        wide = forms[0].dtype == np.uint64
        share = np.empty(opened.shape, forms[0].dtype)
        kernel = self._library.plane_lift_wide if wide else self._library.plane_lift

        def part(images: slice, count: int) -> None:
            read = address(opened[images]), *(address(mask[images]) for mask in forms)
            how = lifting.bits, lifting.width, int(number == 0)
            kernel(*read, count * opened[0].size, *how, address(share[images]))

        _by_images(part, len(opened))
        return share

    def square(
        self, number: int, opened: np.ndarray, lifting: Lifting | None, own: np.ndarray, squares: Forms
    ) -> np.ndarray:
        if lifting is None or own.dtype != np.uint64:
            return super().square(number, opened, lifting, own, squares)
        result, how = np.empty(opened.shape, np.uint64), (lifting.bits, lifting.width)

        def part(images: slice, count: int) -> None:
            self._library.plane_square_wide(
                *(address(opened[images]), *how, address(own[images]), _addresses(squares, images)),
                *(count * opened[0].size, int(number == 0), address(result[images])),
            )

        _by_images(part, len(opened))
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
            given = address(share[own]), address(mask[own]), count, elements, bits, int(number == 0), width
            kernel(*given, address(words[own]), address(packed[own]))

        _by_images(part, images)
        return words, packed.reshape(images, -1)

    def pack(self, words: np.ndarray, width: int) -> np.ndarray:
        words = np.ascontiguousarray(words)
        images, elements = len(words), words[0].size
        packed = np.empty((images, packed_bytes(elements, width)), np.uint8)
        self._library.pack_words(address(words), images, elements, width, address(packed))
        return packed

    def add_packed(self, words: np.ndarray, packed: np.ndarray, width: int) -> np.ndarray:
        result = np.ascontiguousarray(words)
        elements = words[0].size

        def part(own: slice, count: int) -> None:
            self._library.add_packed(address(packed[own]), count, elements, width, address(result[own]))

        _by_images(part, len(words))
        return result


def _by_images(work: Callable[[slice, int], None], images: int) -> None:
    """Let every thread do its images: which they are, and how many."""
    run_parts(lambda first, end: work(slice(first, end), end - first), images)


_POINTER, _SIZE, _FLAG = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_LIFT = (None, [*(_POINTER,) * 3, _SIZE, _FLAG, _FLAG, _FLAG, _POINTER])
_SELECT = (None, [*(_POINTER,) * 2, _FLAG, _FLAG, *(_POINTER,) * 3, _SIZE, _SIZE, _FLAG, _POINTER])
_SQUARE = (None, [_POINTER, _FLAG, _FLAG, _POINTER, _POINTER, _SIZE, _FLAG, _POINTER])
_MASK = (None, [_POINTER, _POINTER, _SIZE, _SIZE, _FLAG, _FLAG, _FLAG, _POINTER, _POINTER])
_PACK = (None, [_POINTER, _SIZE, _SIZE, _FLAG, _POINTER])
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "word_planes": PLANES_SIGNATURE,
    "word_leaves": (None, [_POINTER, _POINTER, _SIZE, _SIZE, _SIZE, _POINTER]),
    "plane_chain": (None, [*(_POINTER,) * 3, *(_SIZE,) * 4, _POINTER, _SIZE, _FLAG, _POINTER]),
    "plane_select": _SELECT,
    "plane_lift": _LIFT,
    "plane_lift_wide": _LIFT,
    "plane_square_wide": _SQUARE,
    "mask_words": _MASK,
    "mask_wide_words": _MASK,
    "pack_words": _PACK,
    "add_packed": _PACK,
}


def _addresses(forms: Forms, images: slice) -> ctypes.Array[ctypes.c_void_p]:
    """Two pointers to those images, the second null where there is one form."""
    pair = [address(form[images]) for form in forms]
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
    calls: list[tuple[str, tuple[Any, ...]]] = [("word_planes", (opened, CHOICE_PLANES))]
    calls += [("word_leaves", (onehot[:, :count].copy(), opened)) for count in (8, 56, ONEHOT_PLANES)]
    for digits in range(2, MOST_DIGITS + 1):
        counts = chain_opened(digits), chain_opened(digits), len(chain_products(digits))
        chain = [generator.integers(0, 256, (2, count, planes.shape[2]), dtype=np.uint8) for count in counts]
        calls += [("join_chain", (number, planes[:, 0].copy(), *chain)) for number in (0, 1)]
    for width in range(1, RING_BITS + 1):
        calls.append(("sign_plane", (opened, width)))
        calls += [("pack", (opened, width)), ("add_packed", (words(), plain.pack(opened, width), width))]
    for number in (0, 1):
        calls += [
            ("mask", (number, opened, bits, words(), width)) for bits, width in ((7, 17), (0, 24), (9, RING_BITS))
        ]
        for kind in (np.uint32, np.uint64):
            pair, own = (words(kind), words(kind)), words(kind)
            for how in (Lifting(9), Lifting(0, 16)):
                calls.append(("lift", (number, opened, how, pair)))
                calls.append(("square", (number, opened, how, own, pair)))
        for lifted, products in ((Lifting(9), 2), (Lifting(0, 16), 2), (None, 1)):
            known = words(), words(), tuple(words() for _ in range(products))
            calls.append(("select", (number, planes[:, 0].copy(), opened, lifted, *known)))
    return all(_same(getattr(compiled, name)(*deepcopy(given)), getattr(plain, name)(*given)) for name, given in calls)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return bool(np.array_equal(one, other) and one.dtype == other.dtype)
