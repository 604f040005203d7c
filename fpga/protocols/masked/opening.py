"""How a party of `masked` opens wires: words on the bits of their ring, one tensor or two in a round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...program import RING_BITS
from ..party import Channel
from .kernels import kernels


def open_wire(
    channel: Channel, number: int, share: np.ndarray, mask: np.ndarray, width: int, bits: int = 0
) -> np.ndarray:
    """Reveal a share without `bits` low bits under its mask, modulo 2^width: no more bits leave the party."""
    words, packed = kernels().mask(number, share, bits, mask, width)
    received = channel.exchange(packed, packed.nbytes)
    if width == RING_BITS:
        words += received.view("<u4").reshape(words.shape)
        return words
    return kernels().add_packed(words, received.reshape(packed.shape), width)


def open_together(channel: Channel, shares: Sequence[np.ndarray], width: int) -> list[np.ndarray]:
    """As `open_wire`, several tensors in one round."""
    if not shares:
        return []
    packed = [kernels().pack(share, width) for share in shares]
    received = channel.exchange(np.concatenate(packed, axis=1), sum(part.nbytes for part in packed))
    ends = np.cumsum([part.shape[1] for part in packed])[:-1]
    others = np.split(received.reshape(len(shares[0]), -1), ends, axis=1)
    return [
        kernels().add_packed(share, np.ascontiguousarray(other), width)
        for share, other in zip(shares, others, strict=True)
    ]
