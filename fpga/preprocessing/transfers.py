"""One party's oblivious transfers with the other one, in both directions, and the rounds that carry them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..protocols.base import Exchange
from ..protocols.material import Corrections, CorrectionWriter
from ..protocols.party import Channel
from .ot_extension import OtReceiver, OtSender
from .punctured_seeds import CHOOSER_BYTES, OWNER_BYTES

#: Starting both extensions: the curve's points and the trees, party 1 receiving first, then party 0.
SETUP_BYTES = (CHOOSER_BYTES + OWNER_BYTES, CHOOSER_BYTES + OWNER_BYTES)


class Transfers:
    """Party `number`'s ends of the two extensions: in `forward` ones party 1 chooses, in `backward` ones party 0.

    Args:
        number: 0 or 1.
        channel: to the other party.
        session: 16 octets that both parties know and that no other session has, a key of the hash.
    """

    def __init__(self, number: int, channel: Channel, session: bytes) -> None:
        self.number, self._channel = number, channel
        if number == 0:
            self._sender = OtSender(channel, session)
            self._receiver = OtReceiver(channel, session)
        else:
            self._receiver = OtReceiver(channel, session)
            self._sender = OtSender(channel, session)

    def choose(self, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Start transfers with these choice planes [N, planes, P]: the message, and the pads [N, planes, 8P]."""
        message, pads = self._receiver.extend(np.ascontiguousarray(choices).reshape(-1))
        return message, pads.reshape(*choices.shape[:2], -1)

    def answer(self, message: np.ndarray, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        """Both pads of the transfers that the other party started, uint32 [*shape, 8P] each."""
        first, second = self._sender.extend(message)
        return first.reshape(*shape, -1), second.reshape(*shape, -1)

    def exchange(self, outgoing: np.ndarray | None, planned: Exchange) -> np.ndarray:
        """One planned round: what the other party sent, uint8."""
        return self._channel.exchange(outgoing, planned.bytes_sent[1 - self.number])


def message_of(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Planes and words [N, ...] of a batch as one message, image by image."""
    parts = list(arrays)
    writer = CorrectionWriter(len(parts[0]))
    for part in parts:
        writer.put(part)
    return np.concatenate(writer.buffers())


def read_message(octets: np.ndarray, images: int) -> Corrections:
    """Reads the arrays of `message_of` back, in order."""
    return Corrections(list(octets.reshape(images, -1)))
