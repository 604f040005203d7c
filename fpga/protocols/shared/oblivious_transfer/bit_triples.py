"""Shares of products of shared bits for one level of an AND tree, by oblivious transfer.

Both parties' factors are their own expansions; a pair's first factor meets two second ones. Party 1's factors choose.
"""

from __future__ import annotations

import numpy as np

from ...material import Corrections
from ..and_tree import and_tree
from .products import Pads, receive_bit_products, send_bit_products


def triple_transfers(digits: int) -> int:
    """Transfers for all levels of the tree over some digits."""
    return sum(opened for opened, _ in and_tree(digits))


def triple_planes(digits: int) -> int:
    """What party 0 sends: of a level with p pairs two planes for each first factor, one for each second one, and one

    per gate for the difference to the share that its seed fixes.
    """
    return sum(2 * opened for opened, _ in and_tree(digits))


def between(pads: Pads, start: int, stop: int) -> Pads:
    """The pads of some of the transfers."""
    return pads[0][:, start:stop], pads[1][:, start:stop]


def _first_of_gate(pairs: int) -> np.ndarray:
    """Which first factor each gate of a level takes: those of `greater`, then those of `equal` but the lowest."""
    return np.concatenate((np.arange(pairs), np.arange(1, pairs)))


def send_triples(pads: Pads, masks: np.ndarray, products: np.ndarray) -> list[np.ndarray]:
    """Messages for one level: the cross products, and this party's share of all products less the fixed one."""
    gates = products.shape[1]
    pairs = masks.shape[1] - gates
    first, second = masks[:, :pairs], masks[:, pairs:]
    partners = np.stack((second[:, :pairs], np.zeros_like(first)), axis=2)
    partners[:, 1:, 1] = second[:, pairs:]
    own_first, to_first = send_bit_products(between(pads, 0, pairs), partners)
    own_second, to_second = send_bit_products(
        between(pads, pairs, pairs + gates), first[:, _first_of_gate(pairs), None]
    )
    share = _by_gate(own_first) ^ own_second[:, :, 0] ^ (first[:, _first_of_gate(pairs)] & second)
    return [to_first, to_second, share ^ products]


def receive_triples(pads: np.ndarray, masks: np.ndarray, gates: int, received: Corrections) -> np.ndarray:
    """Party 1's products of one level, planes [N, gates, P]."""
    images, opened, octets = masks.shape
    pairs = opened - gates
    first, second = masks[:, :pairs], masks[:, pairs:]
    message = received.planes(2 * pairs, octets).reshape(images, pairs, 2, octets)
    share = _by_gate(receive_bit_products(pads[:, :pairs], first, message))
    message = received.planes(gates, octets)[:, :, None]
    share ^= receive_bit_products(pads[:, pairs:], second, message)[:, :, 0]
    return share ^ (first[:, _first_of_gate(pairs)] & second) ^ received.planes(gates, octets)


def _by_gate(shares: np.ndarray) -> np.ndarray:
    """Shares [N, pairs, 2, P] of first ∧ (greater, equal) in the order of the gates."""
    return np.concatenate((shares[:, :, 0], shares[:, 1:, 1]), axis=1)
