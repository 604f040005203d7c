"""A party's keys of a set: one of the weight masks, and a chain that gives the inferences' keys and only goes forward.

A link gives the key of one inference and the next link, by HKDF, and follows from neither. A party keeps the link of
its next inference and nothing before it, so that whoever gets its files cannot open what was sent for earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...protocols.shared.randomness import KEY_BYTES, Keystream, derive, fresh_bytes

LINK_BYTES = 32


@dataclass(frozen=True)
class PartyKeys:
    """What one party's material is expanded from, from its next inference on.

    Attributes:
        weights: key of its part of the weight masks, KEY_BYTES, one for the whole set.
        link: of the chain, LINK_BYTES.
    """

    weights: bytes
    link: bytes
    #: Octets of both together.
    SIZE: ClassVar[int] = KEY_BYTES + LINK_BYTES

    @property
    def octets(self) -> bytes:
        return self.weights + self.link

    @staticmethod
    def of_octets(octets: bytes) -> PartyKeys:
        return PartyKeys(octets[:KEY_BYTES], octets[KEY_BYTES:])

    @staticmethod
    def fresh() -> PartyKeys:
        return PartyKeys(fresh_bytes(KEY_BYTES), fresh_bytes(LINK_BYTES))

    def inferences(self, count: int) -> tuple[list[bytes], PartyKeys]:
        """Keys of the next inferences, and what is left then, from which they do not follow."""
        keys, link = [], self.link
        for _ in range(count):
            octets = derive(link, "inference", KEY_BYTES + LINK_BYTES)
            keys.append(octets[:KEY_BYTES])
            link = octets[KEY_BYTES:]
        return keys, PartyKeys(self.weights, link)

    def weight_source(self, operation: int) -> Keystream:
        """This party's part of the weight mask B of one operation: one for the whole set, as F = W − B is."""
        return Keystream([self.weights], operation)


class KnownKeys:
    """All keys of a set, by index, for who makes its material: a dealer, or a party before the set is in place."""

    def __init__(self, start: PartyKeys) -> None:
        self._keys: list[bytes] = []
        self._following = start

    def keys(self, indices: range) -> list[bytes]:
        """Of consecutive inferences."""
        made, self._following = self._following.inferences(max(0, indices.stop - len(self._keys)))
        self._keys += made
        return self._keys[indices.start : indices.stop]
