"""Both ends of silent transfers in one process."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from rrnet_nni.fpga.protocols.shared.oblivious_transfer.extension import OtReceiver, OtSender
from rrnet_nni.fpga.protocols.shared.oblivious_transfer.silent import SilentReceiver, SilentSender
from rrnet_nni.fpga.runtime.link.link import Link

SESSION = bytes(range(16))


class SilentPair:
    """Both ends of silent transfers, and what they sent."""

    def __init__(self):
        self.links = [Link(end, "the other party", 30) for end in socket.socketpair()]
        self.pool = ThreadPoolExecutor(2)
        self.sent = [[], []]
        receiver, sender = self.both(
            lambda: OtReceiver(self.links[0], SESSION), lambda: OtSender(self.links[1], SESSION)
        )
        self.start = sender
        self.before = [link.counters.bytes_sent for link in self.links]
        self.receiver = SilentReceiver(receiver, self.channel(0), SESSION)
        self.sender = SilentSender(sender, self.channel(1), SESSION)

    def both(self, *functions):
        return [future.result() for future in [self.pool.submit(function) for function in functions]]

    def channel(self, number):
        pair = self

        class Recorded:
            def exchange(self, outgoing, incoming_bytes):
                if outgoing is not None:
                    pair.sent[number].append(np.ascontiguousarray(outgoing).tobytes())
                return pair.links[number].exchange(outgoing, incoming_bytes)

        return Recorded()

    def transfer(self, choices, words=1):
        """The chosen pads and both; choices in octets."""
        channels = [self.channel(number) for number in (0, 1)]
        chosen, pads = self.both(
            lambda: self.receiver.extend(choices, lambda message: channels[0].exchange(message, 0), words),
            lambda: self.sender.extend(len(choices), lambda size: channels[1].exchange(None, size), words),
        )
        return chosen, pads

    @property
    def said(self):
        """Octets that the receiver and the sender said since the extension started."""
        return [link.counters.bytes_sent - before for link, before in zip(self.links, self.before)]
