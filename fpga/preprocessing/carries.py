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

import numpy as np

from ..protocols.base import Exchange
from ..protocols.beaver_ot import plane_bytes
from ..protocols.bit_planes import word_planes
from .kernels import address, load_kernels
from .transfers import Transfers, choice_rounds

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


@functools.cache
def digit_kernels() -> ctypes.CDLL:
    """The compiled kernels with their signatures."""
    library = load_kernels("digit_kernels")
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    signatures = {
        "send_lowest": [pointer, pointer, pointer, size, size, pointer, pointer],
        "receive_lowest": [pointer, pointer, size, size, pointer, pointer],
        "send_upper": [pointer, size, pointer, pointer, pointer, size, size, pointer, pointer],
        "receive_upper": [pointer, size, pointer, pointer, size, size, pointer, pointer],
        "send_carry": [pointer, size, size, pointer, pointer, pointer, size, size, pointer, pointer],
        "receive_carry": [pointer, size, size, pointer, pointer, size, size, pointer, pointer],
    }
    for name, arguments in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = None, arguments
    return library
