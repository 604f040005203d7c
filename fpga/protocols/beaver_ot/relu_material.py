"""Material of comparing and choosing by oblivious transfer: what `comparison.deal_select` deals, made by the parties.

Party 0 fixes every mask and product of its own by its seed; party 1 fixes its choices, its masks and its step Δ. It
ends with exactly the corrections that a dealer would have given it:

1. its choices start 50 transfers per comparison, party 0's choice of the multiplexer starts one the other way;
2. party 0 sends its OT masks under the pads of the digits (1-out-of-16), the cross products of the bit triples and the
   difference of its share to the products that its seed fixes, and the words of its correlated OT;
   where one sign chooses several elements, each has a transfer of its own, started by the same choice;
3. party 0 shifts its result of the backward correlated OT to the word that its seed fixes.
"""

from __future__ import annotations

import numpy as np

from ...cost.protocol import Exchange
from ...program import WORD_BYTES
from ..material import Corrections, CorrectionWriter, RandomSource
from ..shared.and_tree import AND_GATES, AND_OPENED_PLANES
from ..shared.bit_planes import plane_bytes, select
from ..shared.digit_planes import CHOICE_PLANES, DIGIT_BITS
from ..shared.oblivious_transfer.bit_triples import (
    between,
    receive_triples,
    send_triples,
    triple_planes,
    triple_transfers,
)
from ..shared.oblivious_transfer.products import (
    Pads,
    chosen_table_pads,
    receive_word_products,
    send_word_products,
    table_pads,
)
from ..shared.oblivious_transfer.transfers import Transfers, choice_rounds, message_of, read_message
from .comparison import OT_MASK_PLANES, Signs, split_digits

LOWEST, UPPER_DIGITS = DIGIT_BITS[0], len(DIGIT_BITS) - 1
#: Transfers that party 1 starts for a comparison: bits of its digits and its masks of the AND tree.
COMPARISON_TRANSFERS = CHOICE_PLANES + triple_transfers(len(DIGIT_BITS))


def select_rounds(elements: int, signs: int, images: int) -> tuple[Exchange, ...]:
    """What both parties send for choosing `elements` per image by as many or fewer signs that are compared."""
    octets, chosen = images * plane_bytes(signs), images * plane_bytes(elements)
    word = images * elements * WORD_BYTES
    planes = OT_MASK_PLANES + triple_planes(len(DIGIT_BITS))
    if signs == elements:
        forward = choice_rounds(1, (COMPARISON_TRANSFERS + 1) * octets)
    else:
        forward = *choice_rounds(1, COMPARISON_TRANSFERS * octets), *choice_rounds(1, chosen)
    return (
        *forward,
        *choice_rounds(0, chosen),
        Exchange((planes * octets + 2 * word, word)),
        Exchange((word, 0)),
    )


def send_select(transfers: Transfers, elements: int, signs: Signs, source: RandomSource) -> None:
    """Party 0's part; its material is its seed alone."""
    octets = signs.octets
    masks = source.planes(OT_MASK_PLANES, octets)
    triples = [
        (source.planes(opened, octets), source.planes(gates, octets))
        for opened, gates in zip(AND_OPENED_PLANES, AND_GATES)
    ]
    base, step = source.words(elements), source.words(elements)
    choice, fixed = source.planes(1, octets), source.words(elements)
    images = len(masks)
    *_, answered, finished = select_rounds(elements, signs.count, images)

    pads, last = _answer(transfers, images, elements, signs)
    backward = transfers.choose(signs.spread_plane(choice[:, 0])[:, None])
    parts = [masks ^ _mask_pads(pads)]
    place = CHOICE_PLANES
    for own, products in triples:
        parts += send_triples(between(pads, place, place + own.shape[1]), own, products)
        place += own.shape[1]
    share, correlation = send_word_products(last, step)
    parts += [correlation, base + share]
    received = read_message(transfers.exchange(message_of(parts), answered), images).words(elements)
    chosen = signs.spread(choice[:, 0])
    transfers.exchange(fixed - receive_word_products(backward[:, 0, :elements], chosen, received), finished)


def receive_select(
    transfers: Transfers, elements: int, signs: Signs, source: RandomSource, writer: CorrectionWriter
) -> None:
    """Party 1's part: `writer` gets its corrections."""
    octets = signs.octets
    choices = source.planes(CHOICE_PLANES, octets)
    masks = [source.planes(opened, octets) for opened in AND_OPENED_PLANES]
    choice, step = source.planes(1, octets), source.words(elements)
    images = len(choices)
    *_, answered, finished = select_rounds(elements, signs.count, images)

    pads, last = _choose(transfers, np.concatenate((choices, *masks), axis=1), choice, elements, signs)
    first, second = transfers.answer(images, 1, plane_bytes(elements))
    share, correlation = send_word_products((first[:, 0, :elements], second[:, 0, :elements]), step)
    received = read_message(transfers.exchange(correlation, answered), images)
    _put_leaves(pads[:, :CHOICE_PLANES], choices, received, writer)
    place = CHOICE_PLANES
    for own, gates in zip(masks, AND_GATES):
        writer.put(receive_triples(pads[:, place : place + own.shape[1]], own, gates, received))
        place += own.shape[1]
    correlation, difference = received.words(elements), received.words(elements)
    chosen = signs.spread(choice[:, 0])
    writer.put(receive_word_products(last, chosen, correlation) + difference)
    writer.put(read_message(transfers.exchange(None, finished), images).words(elements) - share)


def _answer(transfers: Transfers, images: int, elements: int, signs: Signs) -> tuple[Pads, Pads]:
    """Both pads of the comparison's transfers, planes; and of the multiplexer's, [N, E]."""
    if signs.index is None:
        pads = transfers.answer(images, COMPARISON_TRANSFERS + 1, signs.octets)
        return pads, (pads[0][:, -1, :elements], pads[1][:, -1, :elements])
    pads = transfers.answer(images, COMPARISON_TRANSFERS, signs.octets)
    first, second = transfers.answer(images, 1, plane_bytes(elements))
    return pads, (first[:, 0, :elements], second[:, 0, :elements])


def _choose(
    transfers: Transfers, planes: np.ndarray, choice: np.ndarray, elements: int, signs: Signs
) -> tuple[np.ndarray, np.ndarray]:
    """The pads that `_answer` gives both of."""
    if signs.index is None:
        pads = transfers.choose(np.concatenate((planes, choice), axis=1))
        return pads, pads[:, -1, :elements]
    pads = transfers.choose(planes)
    return pads, transfers.choose(signs.spread_plane(choice[:, 0])[:, None])[:, 0, :elements]


def _digit_pads(pads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pads of the 31 digit bits -> [N, 1, 3, 8P] of the lowest digit, [N, 7, 4, 8P] of the others."""
    return split_digits(pads)


def _mask_pads(pads: Pads) -> np.ndarray:
    """The pads of party 0's OT masks, planes [N, 232, P]."""
    images = len(pads[0])
    lowest, upper = zip(*(_digit_pads(pad[:, :CHOICE_PLANES]) for pad in pads))
    parts = [table_pads(lowest, 1).reshape(images, 1 << LOWEST, -1)]
    parts.append(table_pads(upper, 2).reshape(images, OT_MASK_PLANES - (1 << LOWEST), -1))
    return np.concatenate(parts, axis=1)


def _put_leaves(pads: np.ndarray, choices: np.ndarray, received: Corrections, writer: CorrectionWriter) -> None:
    """The masks that the digits choose: planes [N, 15, P]."""
    images, _, octets = choices.shape
    leaves = []
    for pad, digits, width in zip(_digit_pads(pads), split_digits(choices), (1, 2)):
        entries = chosen_table_pads(pad, width)
        masked = received.planes(int(np.prod(entries.shape[1:4])), octets).reshape(entries.shape)
        leaves.append(select(masked ^ entries, digits).reshape(images, -1, octets))
    writer.put(np.concatenate(leaves, axis=1))
