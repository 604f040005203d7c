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
from ..party import Channel

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


def join_chain(
    number: int, channel: Channel, greater: np.ndarray, equal: np.ndarray, masks: np.ndarray, products: np.ndarray
) -> np.ndarray:
    """This party's share of the comparison [N, P], in one round.

    Args:
        number: this party.
        channel: to the other party.
        greater: shares of all digits, planes [N, D, P], the least significant first; `equal` of all but that one.
        equal: planes [N, D - 1, P].
        masks: shares of the opened bits' masks, planes [N, 2(D - 1), P].
        products: shares of the masks' products, planes [N, products, P].
    """
    digits = greater.shape[1]
    mine = np.concatenate((equal[:, ::-1], greater[:, -2::-1]), axis=1) ^ masks
    opened = mine ^ channel.exchange(mine, mine.nbytes).reshape(mine.shape)
    whole = np.full_like(opened[:, 0], 0xFF if number == 0 else 0)  # the product of no masks is one
    shares: dict[Places, np.ndarray] = {(): whole}
    shares |= {(bit,): masks[:, bit] for bit in range(masks.shape[1])}
    shares |= {each: products[:, index] for index, each in enumerate(chain_products(digits))}
    result = greater[:, -1].copy()
    for term in chain_terms(digits):
        result ^= _product(term, opened, shares)
    return result


def _product(term: Places, opened: np.ndarray, shares: dict[Places, np.ndarray]) -> np.ndarray:
    """A share of the product of a term's bits: bit by bit, the sets with a bit and those without it are joined."""
    left = {each: shares[each] for size in range(len(term) + 1) for each in combinations(term, size)}
    for bit in term:
        left = {
            each: (opened[:, bit] & share) ^ left[tuple(sorted((*each, bit)))]
            for each, share in left.items()
            if bit not in each
        }
    return left[()]


def deal_chain(octets: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter, digits: int) -> None:
    """Party 1's shares of the products of the masks that both expansions make."""
    opened, products = chain_opened(digits), chain_products(digits)
    masks = sources[0].planes(opened, octets) ^ sources[1].planes(opened, octets)
    made = np.stack([np.bitwise_and.reduce(masks[:, list(each)], axis=1) for each in products], axis=1)
    writer.put(made ^ sources[0].planes(len(products), octets))
