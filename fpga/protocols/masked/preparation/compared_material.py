"""What a comparison by one-hot words needs beside them without a dealer: products of the masks that join its leaves.

Party 0's one-hot words go with its first message.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....cost.protocol import Exchange
from ...shared.and_chain import MOST_DIGITS
from ...shared.and_tree import and_tree
from ...shared.oblivious_transfer.bit_triples import (
    between,
    receive_triples,
    send_triples,
    triple_planes,
    triple_transfers,
)
from ...shared.oblivious_transfer.chain_material import ChainReceiver, ChainSender, chain_stages, stage_planes
from ...shared.oblivious_transfer.transfers import Transfers, message_of, read_message
from ..costs import compared_digits, onehot_planes


def compared_stages(width: int) -> tuple[tuple[int, int], ...]:
    """Per message of party 0's: planes of party 1's choices before it, and planes of the message."""
    digits = compared_digits(width)
    if digits > MOST_DIGITS:
        return ((triple_transfers(digits), onehot_planes(width) + triple_planes(digits)),)
    stages = [(len(choices), stage_planes(digits, stage)) for stage, choices in enumerate(chain_stages(digits))]
    return (stages[0][0], onehot_planes(width) + stages[0][1]), *stages[1:]


def send_compared(
    transfers: Transfers,
    width: int,
    onehot: np.ndarray,
    masks: Sequence[np.ndarray],
    products: Sequence[np.ndarray],
) -> None:
    """Party 0's part: planes of one-hot words that are sent, its masks per round of ANDs, its shares of products."""
    images, _, octets = onehot.shape
    digits, parts = compared_digits(width), [onehot]
    sender = ChainSender(digits, masks[0], products[0]) if digits <= MOST_DIGITS else None
    for stage, (choices, planes) in enumerate(compared_stages(width)):
        pads = transfers.answer(images, choices, octets)
        if sender is not None:
            parts += sender.stage(stage, pads)
        else:
            place = 0
            for own, gates in zip(masks, products, strict=True):
                parts += send_triples(between(pads, place, place + own.shape[1]), own, gates)
                place += own.shape[1]
        transfers.exchange(message_of(parts), Exchange((planes * images * octets, 0)))
        parts = []


def receive_compared(
    transfers: Transfers, width: int, masks: Sequence[np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Party 1's part, with its masks: the planes of one-hot words that were sent, and its shares of products."""
    images, _, octets = masks[0].shape
    digits, stages = compared_digits(width), compared_stages(width)
    receiver = ChainReceiver(digits, masks[0]) if digits <= MOST_DIGITS else None
    onehot, gates = np.zeros(0, np.uint8), []
    for stage, (_, planes) in enumerate(stages):
        chosen = receiver.choices(stage) if receiver is not None else np.concatenate(masks, axis=1)
        pads = transfers.choose(chosen)
        received = read_message(transfers.exchange(None, Exchange((planes * images * octets, 0))), images)
        if not stage:
            onehot = received.planes(onehot_planes(width), octets)
        if receiver is not None:
            receiver.stage(stage, pads, received)
            continue
        place = 0
        for own, (_, count) in zip(masks, and_tree(digits), strict=True):
            gates.append(receive_triples(pads[:, place : place + own.shape[1]], own, count, received))
            place += own.shape[1]
    return onehot, tuple(gates) if receiver is None else (receiver.products,)
