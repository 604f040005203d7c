"""One party's oblivious transfers with the other one, in both directions, and the rounds that carry them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ....cost.protocol import Exchange
from ...material import Corrections, CorrectionWriter
from ...party import Channel
from ..randomness import KEY_BYTES, Keystream, fresh_bytes
from .extension import OtReceiver, OtSender, chunks, extension_bytes
from .punctured_seeds import CHOOSER_BYTES, OWNER_BYTES
from .silent import SilentReceiver, SilentSender

#: Starting both extensions: the curve's points and the trees, party 1 receiving first, then party 0.
SETUP_BYTES = (CHOOSER_BYTES + OWNER_BYTES, CHOOSER_BYTES + OWNER_BYTES)


class Transfers:
    """Party `number`'s ends of the two extensions: in `forward` ones party 1 chooses, in `backward` ones party 0.

    Args:
        number: 0 or 1.
        channel: to the other party.
        session: 16 octets that both parties know and that no other session has, a key of the hash.
        silent: expand the forward transfers from few (`silent`), which pays where they are many.
    """

    def __init__(self, number: int, channel: Channel, session: bytes, silent: bool = False) -> None:
        self.number, self._channel = number, channel
        self._private = Keystream([fresh_bytes(KEY_BYTES)], 0)
        self._sender: OtSender | SilentSender
        self._receiver: OtReceiver | SilentReceiver
        if number == 0:
            forward = OtSender(channel, session)
            self._receiver = OtReceiver(channel, session)
            self._sender = SilentSender(forward, channel, session) if silent else forward
        else:
            chosen = OtReceiver(channel, session)
            self._sender = OtSender(channel, session)
            self._receiver = SilentReceiver(chosen, channel, session) if silent else chosen

    def choose(self, choices: np.ndarray) -> np.ndarray:
        """Transfers with these choice planes [N, planes, P]: the pads that they name, uint32 [N, planes, 8P]."""
        return self.choose_wide(choices, 1)[..., 0]

    def choose_wide(self, choices: np.ndarray, words: int) -> np.ndarray:
        """The same with pads of up to four words: uint32 [N, planes, 8P, words]."""
        flat = np.ascontiguousarray(choices).reshape(-1)
        return self._receiver.extend(flat, self._send, words).reshape(*choices.shape[:2], -1, words)

    def answer(self, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        """Both pads of the transfers with choice planes [*shape] at the other party, uint32 [N, planes, 8P] each."""
        first, second = self.answer_wide(shape, 1)
        return first[..., 0], second[..., 0]

    def answer_wide(self, shape: tuple[int, ...], words: int) -> tuple[np.ndarray, np.ndarray]:
        """The same with pads of up to four words: uint32 [N, planes, 8P, words] each."""
        pads = self._sender.extend(int(np.prod(shape)), lambda size: self._channel.exchange(None, size), words)
        return pads[0].reshape(*shape[:-1], -1, words), pads[1].reshape(*shape[:-1], -1, words)

    def _send(self, message: np.ndarray) -> None:
        self._channel.exchange(message, 0)

    def private_octets(self, count: int) -> np.ndarray:
        """Random octets that the other party does not know, uint8 [count]."""
        return self._private.octets(count)[0]

    def exchange(self, outgoing: np.ndarray | None, planned: Exchange) -> np.ndarray:
        """One planned round: what the other party sent, uint8."""
        return self._channel.exchange(outgoing, planned.bytes_sent[1 - self.number])


@dataclass(frozen=True)
class ForwardChoices(Exchange):
    """Party 1's choices; where transfers are silent, these `octets` are all that it sends."""

    octets: int


def choice_rounds(chooser: int, octets: int) -> tuple[Exchange, ...]:
    """What party `chooser` sends to start transfers with `octets` octets of choices: one message per chunk.

    Nobody waits for these messages one by one: the other party works on a chunk while the next one is made.
    """
    sizes = [part.stop - part.start for part in chunks(octets)]
    if chooser == 1:
        return tuple(ForwardChoices((0, extension_bytes(size)), size) for size in sizes)
    return tuple(Exchange((extension_bytes(size), 0)) for size in sizes)


def forward_octets(rounds: Iterable[Exchange]) -> int:
    """Octets of party 1's choices in some rounds."""
    return sum(each.octets for each in rounds if isinstance(each, ForwardChoices))


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


def send_difference(transfers: Transfers, share: np.ndarray, fixed: np.ndarray | None) -> np.ndarray:
    """Shift words between shares so that party 0 has the ones that its seed fixes: this party's new share.

    `fixed` is party 0's, and None at party 1; one message by party 0 of as many octets as the words have.
    """
    planned = Exchange((share.nbytes, 0))
    if fixed is not None:
        transfers.exchange((share - fixed).astype(share.dtype.newbyteorder("<"), copy=False), planned)
        return fixed
    received = transfers.exchange(None, planned).view(share.dtype.newbyteorder("<")).reshape(share.shape)
    return np.asarray(share + received.astype(share.dtype, copy=False))
