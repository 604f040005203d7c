"""What two parties compute with oblivious transfers: tables, products of bits and products of a bit with a word.

Arrays have the images of a batch in front.
`choices` are planes uint8 [N, planes, P] (see `bit_planes`); pads are uint32 [N, planes, 8P], one per transfer. The
sender's functions take both pads, the receiver's the chosen one; what one returns as `message` the other one takes.
"""

from __future__ import annotations

import numpy as np

from ..bit_planes import word_planes

Pads = tuple[np.ndarray, np.ndarray]


def _field_masks(bits: int, width: int) -> list[tuple[np.uint32, np.uint32]]:
    """Per choice bit i: the places in a word of the entries v with bit i clear, and with it set."""
    masks = []
    for bit in range(bits):
        values = [
            sum(((1 << width) - 1) << (width * v) for v in range(1 << bits) if v >> bit & 1 == side) for side in (0, 1)
        ]
        masks.append((np.uint32(values[0]), np.uint32(values[1])))
    return masks


def table_pads(pads: Pads, width: int) -> np.ndarray:
    """The sender's masks of (2^m,1)-OTs of `width`-bit entries, from the pads of m transfers each.

    Entry v is masked by the exclusive or of m pseudorandom words, of which the receiver misses at least one unless v is
    its choice, each bit of a word being used for one entry alone (Naor and Pinkas).

    Args:
        pads: [N, D, m, E] each; 2^m · width is at most 32.
        width: bits of an entry.

    Returns: planes uint8 [N, D, 2^m, width, E / 8].
    """
    images, digits, bits, elements = pads[0].shape
    masks = np.zeros((images, digits, elements), np.uint32)
    for bit, (clear, filled) in enumerate(_field_masks(bits, width)):
        masks ^= (pads[0][:, :, bit] & clear) | (pads[1][:, :, bit] & filled)
    return _entry_planes(masks, bits, width)


def chosen_table_pads(pads: np.ndarray, width: int) -> np.ndarray:
    """The receiver's side of `table_pads`: right at the entry that its choices name, noise elsewhere."""
    return _entry_planes(np.bitwise_xor.reduce(pads, axis=2), pads.shape[2], width)


def _entry_planes(words: np.ndarray, bits: int, width: int) -> np.ndarray:
    images, digits, elements = words.shape
    planes = word_planes(words.reshape(images * digits, elements), width << bits)
    return planes.reshape(images, digits, 1 << bits, width, -1)


def pad_planes(pads: np.ndarray, bits: int) -> np.ndarray:
    """The low bits of each pad: [N, D, E] -> planes [N, D, bits, E / 8]."""
    images, count, elements = pads.shape
    return word_planes(pads.reshape(images * count, elements), bits).reshape(images, count, bits, -1)


def send_bit_products(pads: Pads, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of y ∧ x for the sender's bits x [N, D, bits, P], y being the receiver's choices: (own share, message)."""
    first, second = (pad_planes(pad, factors.shape[2]) for pad in pads)
    return first, first ^ second ^ factors


def receive_bit_products(pads: np.ndarray, choices: np.ndarray, message: np.ndarray) -> np.ndarray:
    """The receiver's shares of y ∧ x, [N, D, bits, P]; choices y [N, D, P]."""
    return pad_planes(pads, message.shape[2]) ^ (message & choices[:, :, None])


def send_word_products(pads: Pads, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of y·x modulo 2^32 for the sender's words x, shaped like the pads: (own share, message)."""
    return np.uint32(0) - pads[0], pads[0] - pads[1] + factor


def receive_word_products(pads: np.ndarray, choices: np.ndarray, message: np.ndarray) -> np.ndarray:
    """The receiver's shares of y·x; choices y are uint32 zeros and ones, shaped like the pads."""
    return pads + choices * message
