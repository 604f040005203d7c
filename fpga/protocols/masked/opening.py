"""How a party of `masked` opens wires: words on the bits of their ring, one tensor or two in a round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...program import RING_BITS
from ..party import Channel
from ..shared.linear_geometry import open_words
from .kernels import kernels


def open_wire(channel: Channel, share: np.ndarray, width: int) -> np.ndarray:
    """Reveal a masked value modulo 2^width: nothing above those bits leaves the party."""
    if width == RING_BITS:
        return open_words(channel, share)
    packed = kernels().pack(share, width)
    received = channel.exchange(packed, packed.nbytes).reshape(packed.shape)
    return kernels().add_packed(share, received, width)


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
