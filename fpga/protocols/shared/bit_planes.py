"""Bit-sliced logic: one plane holds the same bit of all elements of an image, eight to an octet.

Planes are uint8 [N, planes, ceil(E / 8)]. Bits beyond the last element are zero in planes made from words.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ...native.library import address
from ...native.threads import run_parts


def word_planes(words: np.ndarray, bits: int) -> np.ndarray:
    """uint32 [N, E] -> planes [N, bits, ceil(E / 8)] of the low bits, bit 0 first."""
    images, elements = words.shape
    octets = np.ascontiguousarray(words.astype("<u4", copy=False)).view(np.uint8).reshape(images, elements, 4)
    lanes = np.ascontiguousarray(octets.transpose(2, 0, 1))
    planes = np.empty((images, bits, (elements + 7) // 8), np.uint8)
    for bit in range(bits):
        planes[:, bit] = np.packbits(lanes[bit // 8] & np.uint8(1 << bit % 8), axis=-1)
    return planes


#: Of `word_planes` in C (bit_planes.h).
PLANES_SIGNATURE: tuple[Any, list[Any]] = (
    None,
    [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int, ctypes.c_int, ctypes.c_void_p],
)


def compiled_planes(library: ctypes.CDLL, words: np.ndarray, first: int, end: int) -> np.ndarray:
    """uint32 [N, E] -> planes [N, end − first, ceil(E / 8)] of the bits from `first` on, by a library that has them."""
    images, elements = words.shape
    words, planes = np.ascontiguousarray(words), np.empty((images, end - first, plane_bytes(elements)), np.uint8)

    def part(image: int, last: int) -> None:
        library.word_planes(address(words[image:last]), last - image, elements, first, end, address(planes[image:last]))

    run_parts(part, images)
    return planes


def plane_words(plane: np.ndarray, elements: int) -> np.ndarray:
    """One plane [N, ceil(E / 8)] -> uint32 [N, E] of zeros and ones."""
    return np.unpackbits(plane, axis=-1, count=elements).astype(np.uint32)


def spread_plane(plane: np.ndarray, elements: int, index: np.ndarray) -> np.ndarray:
    """One plane [N, ceil(E / 8)] -> the plane of other elements, each with the bit that `index` names: int64 [F]."""
    return np.packbits(np.take(np.unpackbits(plane, axis=-1, count=elements), index, axis=1), axis=-1)


def indicators(digits: np.ndarray) -> np.ndarray:
    """Bits of digits [N, D, m, P] -> planes [N, D, 2^m, P]: plane u is 1 where the digit is u."""
    result = np.full((*digits.shape[:2], 1, digits.shape[3]), 0xFF, np.uint8)
    for bit in range(digits.shape[2]):
        plane = digits[:, :, bit, None]
        result = np.concatenate((result & ~plane, result & plane), axis=2)
    return result


def select(table: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """The entry that each element's digit names: table [N, D, 2^m, ..., P], digits [N, D, m, P] -> [N, D, ..., P]."""
    for bit in range(digits.shape[2]):
        even, odd = table[:, :, 0::2], table[:, :, 1::2]
        plane = digits[:, :, bit].reshape(*digits.shape[:2], *(1,) * (table.ndim - 3), digits.shape[3])
        table = even ^ ((even ^ odd) & plane)
    return table[:, :, 0]


def exclusive_suffixes(planes: np.ndarray) -> np.ndarray:
    """Entry v of [N, D, V, P]: the exclusive or of the entries beyond v."""
    result = np.zeros_like(planes)
    for entry in range(planes.shape[2] - 2, -1, -1):
        np.bitwise_xor(result[:, :, entry + 1], planes[:, :, entry + 1], out=result[:, :, entry])
    return result


def exchange_entries(table: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Entry v becomes entry v XOR digit, element by element, by a butterfly of conditional exchanges.

    Shapes as in `select`.
    """
    images, count, entries, *inner = table.shape
    result = table.copy()
    for bit in range(digits.shape[2]):
        pairs = result.reshape(images, count, entries >> (bit + 1), 2, 1 << bit, *inner)
        plane = digits[:, :, bit].reshape(images, count, *(1,) * (len(inner) + 1), digits.shape[3])
        difference = (pairs[:, :, :, 0] ^ pairs[:, :, :, 1]) & plane
        pairs[:, :, :, 0] ^= difference
        pairs[:, :, :, 1] ^= difference
    return result


def plane_bytes(elements: int) -> int:
    """Bytes of one bit plane."""
    return (elements + 7) // 8
