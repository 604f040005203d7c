"""Carries of r = r_0 + r_1 by oblivious transfer, as shared bits.

The carry runs through 4-bit digits: carry' = [v + d + carry >= 16] with party 1's digit v and party 0's d. One
(2^5,1)-OT per digit computes it on shares, its choice being v and party 1's share of the carry; no AND gate is needed.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ....cost.protocol import Exchange
from ....native.backend import require
from ....native.library import EXACT_OPTIONS, Signatures, address
from ..bit_planes import plane_bytes, word_planes
from .transfers import Transfers, choice_rounds

_SOURCE = Path(__file__).with_name("digit_kernels.c")
DIGIT = 4


@dataclass(frozen=True)
class _Digit:
    """Bits [start, stop) of the masks."""

    start: int
    stop: int

    @property
    def choices(self) -> int:
        """Its bits, and the carry into it."""
        return self.stop - self.start + (self.start > 0)

    @property
    def octets(self) -> int:
        """Of its table: one bit for each of party 1's choices."""
        return max(1, (1 << self.choices) // 8)


def _digits(cuts: Sequence[int], start: int) -> list[_Digit]:
    """Digits from bit `start` up to the last cut, least significant first, cut at all of them."""
    parts = pairwise((start, *cuts))
    starts = [*(place for first, stop in parts for place in range(first, stop, DIGIT)), cuts[-1]]
    return [_Digit(start, stop) for start, stop in pairwise(starts)]


def carry_rounds(cuts: Sequence[int], elements: int, images: int, start: int = 0) -> tuple[Exchange, ...]:
    """What both parties send for the carries at `cuts`, ascending bit places, from the carry at `start`."""
    rounds: list[Exchange] = []
    for digit in _digits(cuts, start):
        rounds += choice_rounds(1, digit.choices * images * plane_bytes(elements))
        rounds.append(Exchange((images * elements * digit.octets, 0)))
    return tuple(rounds)


def share_carries(
    transfers: Transfers, r: np.ndarray, cuts: Sequence[int], known: tuple[int, np.ndarray] | None = None
) -> dict[int, np.ndarray]:
    """This party's shares of the carries out of the low bits of r_0 + r_1, by bit place: planes [N, P].

    Args:
        transfers: to the other party.
        r: this party's uint32 [N, E].
        cuts: ascending bit places, 32 for the carry out of the word.
        known: a bit place and the share of the carry there, a plane, to start from.
    """
    carries, carry, start = {}, None, 0
    if known is not None:
        start, carry = known[0], np.unpackbits(known[1], axis=-1, count=r.shape[1])
    for digit in _digits(cuts, start):
        carry = (_send if transfers.number == 0 else _receive)(transfers, r, digit, carry)
        carries[digit.stop] = np.packbits(carry, axis=-1)
    return carries


def _send(transfers: Transfers, r: np.ndarray, digit: _Digit, below: np.ndarray | None) -> np.ndarray:
    """Party 0's share, octets 0 or 1 [N, E]: random, and added to every entry of the table."""
    images, elements = r.shape
    octets = plane_bytes(elements)
    first, second = transfers.answer(images, digit.choices, octets)
    share = np.unpackbits(transfers.private_octets(images * octets).reshape(images, octets), axis=-1, count=elements)
    message = np.empty((images, elements), np.uint32)
    for image in range(images):
        carry = None if below is None else address(below[image])
        digit_kernels().send_carry(
            *(address(r[image]), digit.start, digit.stop - digit.start, carry),
            *(address(first[image]), address(second[image]), 8 * octets, elements),
            *(address(share[image]), address(message[image])),
        )
    table = message.astype("<u4", copy=False).view(np.uint8).reshape(images, elements, 4)[:, :, : digit.octets]
    transfers.exchange(table, Exchange((images * elements * digit.octets, 0)))
    return share


def _receive(transfers: Transfers, r: np.ndarray, digit: _Digit, below: np.ndarray | None) -> np.ndarray:
    """Party 1's share, octets 0 or 1 [N, E]."""
    images, elements = r.shape
    octets = plane_bytes(elements)
    choices = word_planes(r >> np.uint32(digit.start), digit.stop - digit.start)
    if below is not None:
        choices = np.concatenate((choices, np.packbits(below, axis=-1)[:, None]), axis=1)
    chosen = transfers.choose(choices)
    received = transfers.exchange(None, Exchange((images * elements * digit.octets, 0)))
    message = np.zeros((images, elements, 4), np.uint8)
    message[:, :, : digit.octets] = received.reshape(images, elements, digit.octets)
    words = message.view("<u4")[:, :, 0].astype(np.uint32, copy=False)
    share = np.empty((images, elements), np.uint8)
    for image in range(images):
        carry = None if below is None else address(below[image])
        digit_kernels().receive_carry(
            *(address(r[image]), digit.start, digit.stop - digit.start, carry),
            *(address(chosen[image]), 8 * octets, elements, address(words[image]), address(share[image])),
        )
    return share


_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_SIGNATURES: Signatures = {
    "send_lowest": (None, [_POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER]),
    "receive_lowest": (None, [_POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER]),
    "send_upper": (None, [_POINTER, _SIZE, _POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER]),
    "receive_upper": (None, [_POINTER, _SIZE, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER]),
    "send_carry": (None, [_POINTER, _SIZE, _SIZE, _POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER]),
    "receive_carry": (None, [_POINTER, _SIZE, _SIZE, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER]),
}


@functools.cache
def digit_kernels() -> ctypes.CDLL:
    """The compiled kernels.

    Raises:
        Refusal: they cannot be compiled here, or compute wrongly.
    """
    return require(_SOURCE, EXACT_OPTIONS, _SIGNATURES, _adds_lowest_digits, "two-party preprocessing")


def _adds_lowest_digits(library: ctypes.CDLL) -> bool:
    """Whether both sides' words of the lowest digit are the one-hot word of its sum, and its carry in bit 16."""
    generator, count = np.random.default_rng(0), 64
    r = np.repeat(np.arange(8, dtype=np.uint32), 8), np.tile(np.arange(8, dtype=np.uint32), 8)
    pads = generator.integers(0, 2**32, (2, 3, count), np.uint32)
    choices = r[1] >> np.arange(3, dtype=np.uint32)[:, None] & np.uint32(1)
    chosen = np.where(choices == 1, pads[1], pads[0])
    message, words = np.empty(count, np.uint32), np.empty((2, count), np.uint32)
    first, second = (np.ascontiguousarray(pad) for pad in pads)
    library.send_lowest(
        *(address(r[0]), address(first), address(second), count, count, address(message), address(words[0]))
    )
    library.receive_lowest(address(r[1]), address(chosen), count, count, address(message), address(words[1]))
    total = r[0] + r[1]
    expected = np.uint32(1) << (total & np.uint32(7)) | (total >> np.uint32(3)) << np.uint32(16)
    return bool(np.array_equal(words[0] ^ words[1], expected))
