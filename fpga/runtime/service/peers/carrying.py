"""Octets carried between two connected sockets, one of which may be encrypted, by one thread."""

from __future__ import annotations

import select
import socket
import ssl
import threading

from rrnet_nni.base.errors import ExecutionFault

PIECE_BYTES = 1 << 18
LOOK_AGAIN_MS = 500
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Way:
    """One direction: at most one piece is on its way, so that a slow reader holds its writer back."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self._piece = memoryview(b"")
        self.ended = False

    @property
    def loaded(self) -> bool:
        return len(self._piece) > 0

    def advance(self) -> bool:
        """Move what can be moved now; False when that is nothing."""
        try:
            if self._piece:
                self._piece = self._piece[self.target.send(self._piece) :]
                return True
            if self.ended:
                return False
            self._piece = memoryview(self.source.recv(PIECE_BYTES))
        except _LATER:
            return False
        self.ended = not self._piece
        return True


def carry(far: socket.socket, near: socket.socket, stop: threading.Event) -> None:
    """Carry octets both ways until the near end has finished or the far one is gone.

    Raises:
        ExecutionFault: a connection broke.
    """
    for end in (far, near):
        end.setblocking(False)
    inward, outward = _Way(far, near), _Way(near, far)
    try:
        while not stop.is_set() and (outward.loaded or not outward.ended):
            if inward.ended and not inward.loaded:
                return
            progress = inward.advance()
            progress |= outward.advance()
            if not progress:
                _wait(inward, outward)
    except (OSError, ssl.SSLError) as error:
        raise ExecutionFault(f"the connection between the two servers broke ({error})") from error


def _wait(*ways: _Way) -> None:
    wanted: dict[socket.socket, int] = {}
    for way in ways:
        if way.loaded:
            wanted[way.target] = wanted.get(way.target, 0) | select.POLLOUT
        elif not way.ended:
            wanted[way.source] = wanted.get(way.source, 0) | select.POLLIN
    poll = select.poll()
    for each, events in wanted.items():
        poll.register(each, events)
    poll.poll(LOOK_AGAIN_MS)
