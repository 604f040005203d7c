"""Shares of the products of masks for a chain of ANDs, by oblivious transfer.

Every mask is the exclusive or of both parties' own expansions. A product is the product of all its masks but the last,
of which both have a share, with the last: two products of a party's share with the other's go through transfers, in
which party 1's share chooses. Products of the same size are made together, the shorter ones first; what a single mask
of party 1's meets is party 0's from the start, so that it goes with the first message.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ...material import Corrections
from ..and_chain import Places, chain_opened, chain_products
from .products import Pads, receive_bit_products, send_bit_products


@dataclass(frozen=True)
class Choice:
    """A share of party 1's that chooses: of the masks' product `place`, which meets party 0's share of each `factor`

    for a product.
    """

    place: Places
    meets: tuple[tuple[Places, Places], ...]  # product, factor


@functools.cache
def chain_stages(digits: int) -> tuple[tuple[Choice, ...], ...]:
    """Per size of products, from two on, what chooses."""
    products = chain_products(digits)
    singles = []
    met: list[tuple[Places, Places]]
    for bit in range(chain_opened(digits)):
        met = [(each, each[1:]) for each in products if len(each) == 2 and each[0] == bit]
        met += [(each, each[:-1]) for each in products if each[-1] == bit]
        singles.append(Choice((bit,), tuple(met)))
    stages = [tuple(singles)]
    for size in range(3, max(map(len, products)) + 1):
        longer = [each for each in products if len(each) == size]
        prefixes = sorted({each[:-1] for each in longer})
        stages.append(
            tuple(
                Choice(prefix, tuple((each, each[-1:]) for each in longer if each[:-1] == prefix))
                for prefix in prefixes
            )
        )
    return tuple(stages)


def stage_planes(digits: int, stage: int) -> int:
    """Planes that party 0 sends in a stage: of every product that is met, and of the difference to its fixed share."""
    met = sum(len(choice.meets) for choice in chain_stages(digits)[stage])
    return met + len(_made(digits, stage))


def _made(digits: int, stage: int) -> tuple[Places, ...]:
    """The products that a stage completes."""
    return tuple(each for each in chain_products(digits) if len(each) == stage + 2)


class ChainSender:
    """Party 0's side: `masks` planes [N, opened, P] and `products`, the shares that its seed fixes."""

    def __init__(self, digits: int, masks: np.ndarray, products: np.ndarray) -> None:
        self._digits, self._fixed = digits, _shares(digits, masks, products)
        self._made = {each: self._fixed[each[:-1]] & self._fixed[each[-1:]] for each in chain_products(digits)}

    def stage(self, stage: int, pads: Pads) -> list[np.ndarray]:
        """Messages of one stage, from the pads of its transfers."""
        message = []
        for place, choice in enumerate(chain_stages(self._digits)[stage]):
            factors = np.stack([self._fixed[factor] for _, factor in choice.meets], axis=1)[:, None]
            own, sent = send_bit_products((pads[0][:, place : place + 1], pads[1][:, place : place + 1]), factors)
            message.append(sent[:, 0])
            for slot, (product, _) in enumerate(choice.meets):
                self._made[product] = self._made[product] ^ own[:, 0, slot]
        differences = [self._made[each] ^ self._fixed[each] for each in _made(self._digits, stage)]
        return [*message, np.stack(differences, axis=1)]


class ChainReceiver:
    """Party 1's side, with its masks."""

    def __init__(self, digits: int, masks: np.ndarray) -> None:
        self._digits, self._masks = digits, masks
        self._shares: dict[Places, np.ndarray] = {(bit,): masks[:, bit] for bit in range(masks.shape[1])}
        self._met: dict[Places, np.ndarray] = {}

    def choices(self, stage: int) -> np.ndarray:
        """What chooses in a stage, planes."""
        return np.stack([self._shares[choice.place] for choice in chain_stages(self._digits)[stage]], axis=1)

    def stage(self, stage: int, pads: np.ndarray, received: Corrections) -> None:
        """Complete the products of one stage."""
        octets = self._masks.shape[2]
        for place, choice in enumerate(chain_stages(self._digits)[stage]):
            message = received.planes(len(choice.meets), octets)[:, None]
            own = receive_bit_products(pads[:, place : place + 1], self._shares[choice.place][:, None], message)
            for slot, (product, _) in enumerate(choice.meets):
                self._met[product] = own[:, 0, slot] ^ self._met.get(product, np.uint8(0))
        made = _made(self._digits, stage)
        differences = received.planes(len(made), octets)
        for slot, each in enumerate(made):
            local = self._shares[each[:-1]] & self._shares[each[-1:]]
            self._shares[each] = self._met.pop(each) ^ local ^ differences[:, slot]

    @property
    def products(self) -> np.ndarray:
        """The shares of all products, planes [N, products, P]."""
        return np.stack([self._shares[each] for each in chain_products(self._digits)], axis=1)


def _shares(digits: int, masks: np.ndarray, products: np.ndarray) -> dict[Places, np.ndarray]:
    singles: dict[Places, np.ndarray] = {(bit,): masks[:, bit] for bit in range(masks.shape[1])}
    return singles | {each: products[:, index] for index, each in enumerate(chain_products(digits))}
