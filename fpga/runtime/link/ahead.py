"""Rounds over a link that begin before others have ended: what is sent travels while this party computes.

Messages arrive in the order in which the peer began them. Both parties run the same program and begin the same rounds
in the same order, so that no message needs a number.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from .frames import DATA, FRAME_BYTES, HEADER, DataReceiver, LinkFault, Sender
from .link import Link, LinkCounters, told_as_faults

#: Kinds of link: on a long one rounds begin ahead.
LAN, WAN = "lan", "wan"


class RoundsAhead:
    """The rounds of a link that is used for nothing else until `close`.

    Raises `LinkFault` as the link does.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._outgoing: deque[Sender] = deque()
        self._incoming: deque[tuple[np.ndarray, DataReceiver]] = deque()
        self._awaited: deque[DataReceiver] = deque()  # those of the incoming that are not whole

    def begin(self, outgoing: np.ndarray | None, incoming_bytes: int, rounds: int) -> None:
        """Send `outgoing` as far as the socket takes it now; `incoming_bytes` octets are waited for later.

        `rounds` says how many rounds begin with this message: none where it is a further part of one.
        """
        payload = memoryview(b"") if outgoing is None else np.ascontiguousarray(outgoing).data.cast("B")
        received = np.empty(incoming_bytes, np.uint8)
        receiver = DataReceiver(received.data, 0, self._link.peer)
        self._incoming.append((received, receiver))
        if not receiver.done:
            self._awaited.append(receiver)
        if len(payload):
            self._outgoing.append(Sender(DATA, payload, 0))
        headers = -(-len(payload) // FRAME_BYTES) * HEADER.size
        self._link.counters += LinkCounters(len(payload), incoming_bytes, headers, int(len(payload) > 0), rounds)
        with told_as_faults(self._link.peer, self._drain):
            while self._outgoing and self._advance():
                pass

    def finish(self) -> np.ndarray:
        """What the round that began first has brought, uint8."""
        started = time.perf_counter()
        received, receiver = self._incoming.popleft()
        self._until(lambda: receiver.done)
        self._link.counters += LinkCounters(waited_s=time.perf_counter() - started)
        return received

    def close(self) -> None:
        """Send what is left; every round has been finished."""
        if self._incoming:
            raise ValueError(f"{len(self._incoming)} rounds have not been finished")
        self._until(lambda: not self._outgoing)

    def _until(self, enough: Callable[[], bool]) -> None:
        """Move both directions until there is enough."""
        deadline = time.monotonic() + self._link.timeout_s
        with told_as_faults(self._link.peer, self._drain):
            while not enough():
                if self._advance():
                    deadline = time.monotonic() + self._link.timeout_s
                elif not self._wait(deadline):
                    silence = f"nothing moved for {self._link.timeout_s:g} s"
                    raise LinkFault(f"the link to {self._link.peer} stalled: {silence}")

    def _advance(self) -> bool:
        """Move what can be moved now; reads first: a peer that hangs up has said why."""
        progress = self._receive()
        progress |= self._send()
        return progress

    def _drain(self) -> None:
        if self._awaited:
            self._awaited[0].drain(self._link.socket)

    def _receive(self) -> bool:
        if not self._awaited:
            return False
        receiver = self._awaited[0]
        receiver.sequence = self._link.sequence_in
        progress = receiver.advance(self._link.socket)
        self._link.sequence_in = receiver.sequence
        if receiver.done:
            self._awaited.popleft()
        return progress

    def _send(self) -> bool:
        if not self._outgoing:
            return False
        sender = self._outgoing[0]
        sender.sequence = self._link.sequence_out
        progress = sender.advance(self._link.socket)
        self._link.sequence_out = sender.sequence
        if sender.done:
            self._outgoing.popleft()
        return progress

    def _wait(self, deadline: float) -> bool:
        poll = select.poll()
        events = (select.POLLIN if self._awaited else 0) | (select.POLLOUT if self._outgoing else 0)
        poll.register(self._link.socket, events)
        remaining = deadline - time.monotonic()
        return remaining > 0 and bool(poll.poll(remaining * 1000))
