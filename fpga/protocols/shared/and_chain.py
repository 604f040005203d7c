"""Joining the leaves of a short comparison in one round: every product of masked bits is opened bit by bit.

greater of d digits is g_{d−1} ⊕ e_{d−1}·g_{d−2} ⊕ e_{d−1}·e_{d−2}·g_{d−3} ⊕ ...: digits above are equal, this one is
greater. Each e and g but the highest g is opened once under a mask of its own, â = a ⊕ α. A product of bits is then

    ∏ a = ∏ (â ⊕ α) = ⊕_S (∏_{not in S} â) · α_S,    α_S = ∏_{in S} α,

linear in the α_S, of which shares are dealt. There are 2^(number of bits) of them, so that a chain is for few digits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from ..material import CorrectionWriter, RandomSource

#: Digits of the longest chain: 15 dealt products. Five digits have 37, eight 367.
MOST_DIGITS = 4
#: Places of opened bits, ascending.
Places = tuple[int, ...]


def chain_opened(digits: int) -> int:
    """Bits that are opened: `equal` of the upper digits, the highest first, then `greater` of all but the highest."""
    return 2 * (digits - 1)


def chain_terms(digits: int) -> tuple[Places, ...]:
    """The products of opened bits whose exclusive or, with `greater` of the highest digit, is the result."""
    upper = digits - 1
    return tuple((*range(count), upper + count - 1) for count in range(1, upper + 1))


@functools.cache
def chain_products(digits: int) -> tuple[Places, ...]:
    """The products of masks that are dealt, the shorter ones first: of all sets of two or more bits of a term."""
    return tuple(
        sorted({each for term in chain_terms(digits) for each in _subsets(term)}, key=lambda each: (len(each), each))
    )


def _subsets(places: Places) -> Iterator[Places]:
    return (each for size in range(2, len(places) + 1) for each in combinations(places, size))


@functools.cache
def chain_places(digits: int) -> tuple[int, ...]:
    """Where the opened bits are among the leaves: greater of the lowest digit; greater and equal of each other one."""
    upper = digits - 1
    return (*range(2 * upper, 0, -2), *range(2 * upper - 3, 0, -2), 0)


@functools.cache
def chain_monomials(digits: int) -> np.ndarray:
    """The sum of all terms as products of opened bits and one share: int32 [M, 2].

    First the opened bits, a bit of a number each; then the share's place among the masks and, behind them, the dealt
    products, -1 where no mask is in it.
    """
    singles, products = chain_opened(digits), chain_products(digits)
    shares: dict[Places, int] = {(): -1} | {(bit,): bit for bit in range(singles)}
    shares |= {each: singles + place for place, each in enumerate(products)}
    return np.array(
        [
            (sum(1 << bit for bit in term if bit not in each), shares[each])
            for term in chain_terms(digits)
            for size in range(len(term) + 1)
            for each in combinations(term, size)
        ],
        np.int32,
    )


def join_chain(
    number: int, highest: np.ndarray, opened: np.ndarray, masks: np.ndarray, products: np.ndarray
) -> np.ndarray:
    """This party's share of the comparison, a plane [N, P].

    Args:
        number: this party.
        highest: share of `greater` of the highest digit, a plane [N, P].
        opened: the opened bits, planes [N, 2(D - 1), P].
        masks: shares of their masks, planes of the same shape.
        products: shares of the masks' products, planes [N, products, P].
    """
    result, shares = highest.copy(), np.concatenate((masks, products), axis=1)
    for bits, place in chain_monomials(1 + opened.shape[1] // 2):
        whole = np.full_like(highest, 0xFF if number == 0 else 0)  # the product of no masks is one
        product = whole if place < 0 else shares[:, place]
        for bit in range(opened.shape[1]):
            if bits >> bit & 1:
                product = product & opened[:, bit]
        result ^= product
    return result


def deal_chain(octets: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter, digits: int) -> None:
    """Party 1's shares of the products of the masks that both expansions make."""
    opened, products = chain_opened(digits), chain_products(digits)
    masks = sources[0].planes(opened, octets) ^ sources[1].planes(opened, octets)
    made = np.stack([np.bitwise_and.reduce(masks[:, list(each)], axis=1) for each in products], axis=1)
    writer.put(made ^ sources[0].planes(len(products), octets))
