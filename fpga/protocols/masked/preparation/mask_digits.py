"""One-hot words of the digits of r = r_0 + r_1 by oblivious transfer: what a comparison by one-hot words needs.

In Z_2[X] the digit d_0 + d_1 + c of a sum is X^d_0 · X^d_1 · X^c: a monomial whose exponent is the digit, and the carry
above it. Party 0 starts with its share X^(d_0 + c_0); every bit b of party 1's digit, of weight h, and its share of the
carry turns a shared Z into Z + b·(1 + X^h)·Z, which takes one correlated transfer of the word Z that party 0 holds. A
digit of m bits with a carry so takes m + 1 transfers and 2^m + (2^m + 1) + ... bits, 95 for m = 4, instead of a table
of 2^(m+1) words. Bits of r and the carries follow from the one-hot words without a message.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....cost.protocol import Exchange
from ....native.library import address
from ....program import WORD_BYTES
from ...shared.bit_planes import plane_bytes, word_planes
from ...shared.digit_planes import DIGIT_BITS
from ...shared.oblivious_transfer.carries import digit_kernels
from ...shared.oblivious_transfer.messages import WordReader
from ...shared.oblivious_transfer.transfers import Transfers, choice_rounds
from ..costs import compared_digits
from ..kernels import kernels

LOWEST, UPPER = DIGIT_BITS[0], DIGIT_BITS[1]
#: Words of party 0's message per element: of the lowest digit, and of one above it.
LOWEST_WORDS, UPPER_WORDS = 1, 3


@dataclass(frozen=True)
class DigitShares:
    """A party's shares of one-hot words, planes [N, 120, P] for whole words, and of the carry out of them, [N, P]."""

    onehot: np.ndarray
    carry: np.ndarray

    def bit(self, place: int) -> np.ndarray:
        """The share of one of the low bits of r, a plane [N, P]."""
        first, bits, below = 0, DIGIT_BITS[0], place
        for bits in DIGIT_BITS:
            if below < bits:
                break
            first, below = first + (1 << bits), below - bits
        entries = [first + value for value in range(1 << bits) if value >> below & 1]
        return np.asarray(np.bitwise_xor.reduce(self.onehot[:, entries], axis=1))


def digit_rounds(width: int, elements: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for the digits of words of `width` bits, `elements` per image."""
    octets = images * plane_bytes(elements)
    word = 8 * octets * WORD_BYTES
    rounds: list[Exchange] = []
    for index, bits in enumerate(DIGIT_BITS[: compared_digits(width)]):
        rounds += choice_rounds(1, (bits + (index > 0)) * octets)
        rounds.append(Exchange(((UPPER_WORDS if index else LOWEST_WORDS) * word, 0)))
    return tuple(rounds)


def share_digits(transfers: Transfers, r: np.ndarray, width: int) -> DigitShares:
    """This party's shares of the digits of the low width − 1 bits of r_0 + r_1, from its uint32 r [N, E].

    Beyond the last element r is 0.
    """
    images, elements = r.shape
    octets = plane_bytes(elements)
    r = np.pad(r, ((0, 0), (0, 8 * octets - elements)))
    run = _send_digit if transfers.number == 0 else _receive_digit
    own = word_planes(r, width - 1) if transfers.number == 1 else None
    planes, carry, below, shift = [], None, None, 0
    for bits in DIGIT_BITS[: compared_digits(width)]:
        choices = None
        if own is not None:
            choices = own[:, shift : shift + bits]
            choices = choices if carry is None else np.concatenate((choices, carry[:, None]), axis=1)
        below = run(transfers, r, shift, below, choices)
        words = kernels().word_planes(below, 17)
        planes.append(words[:, : 1 << bits])
        carry, shift = words[:, 16], shift + bits
    assert carry is not None
    onehot = np.concatenate(planes, axis=1).reshape(images, -1, octets)
    return DigitShares(onehot, np.ascontiguousarray(carry))


def _send_digit(
    transfers: Transfers, r: np.ndarray, shift: int, below: np.ndarray | None, choices: np.ndarray | None
) -> np.ndarray:
    """Party 0's words of one digit, uint32 [N, E]: the one-hot word, and the carry in bit 16."""
    images, elements = r.shape
    octets = plane_bytes(elements)
    first, second = transfers.answer(images, LOWEST if below is None else UPPER + 1, octets)
    message = np.empty((images, LOWEST_WORDS if below is None else UPPER_WORDS, elements), np.uint32)
    words = np.empty_like(r)
    for image in range(images):
        pads = address(first[image]), address(second[image]), 8 * octets, elements
        results = address(message[image]), address(words[image])
        if below is None:
            digit_kernels().send_lowest(address(r[image]), *pads, *results)
        else:
            digit_kernels().send_upper(address(r[image]), shift, address(below[image]), *pads, *results)
    transfers.exchange(message.astype("<u4", copy=False), Exchange((message.nbytes, 0)))
    return words


def _receive_digit(
    transfers: Transfers, r: np.ndarray, shift: int, below: np.ndarray | None, choices: np.ndarray | None
) -> np.ndarray:
    """Party 1's words of one digit."""
    assert choices is not None
    images, elements = r.shape
    chosen = transfers.choose(choices)
    shape = images, LOWEST_WORDS if below is None else UPPER_WORDS, elements
    size = int(np.prod(shape)) * WORD_BYTES
    message = WordReader(transfers.exchange(None, Exchange((size, 0)))).take(shape, WORD_BYTES, r.dtype)
    words = np.empty_like(r)
    for image in range(images):
        pads = address(chosen[image]), chosen.shape[2], elements
        results = address(message[image]), address(words[image])
        if below is None:
            digit_kernels().receive_lowest(address(r[image]), *pads, *results)
        else:
            digit_kernels().receive_upper(address(r[image]), shift, address(below[image]), *pads, *results)
    return words
