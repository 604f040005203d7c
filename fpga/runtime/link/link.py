"""The link between two parties: framed, checksummed messages over one connected socket.

A frame is a header of 16 octets (magic, version, kind, sequence, length, CRC-32) and its payload. A round sends and
receives at once, so that two large messages never wait for each other; the socket's own flow control holds a fast
sender back. Every payload octet is counted; headers and the handshake are counted apart.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from ...native import checksum
from .frames import (
    ABORT,
    ABORT_LIMIT,
    CONTROL,
    DATA,
    FRAME_BYTES,
    HEADER,
    ControlReceiver,
    DataReceiver,
    LinkFault,
    Receiver,
    Sender,
    without_paths,
)
from .round import SILENT, WHOLE, Moved, compiled_round
from .tls_problems import tls_problem

SOCKET_BUFFER_BYTES = 1 << 22
DEFAULT_TIMEOUT_S = 60.0
_NOTHING = np.zeros(0, np.uint8)


@contextlib.contextmanager
def told_as_faults(peer: str, drain: Callable[[], object]) -> Iterator[None]:
    """Raise `LinkFault` for what a socket raises; `drain` reads on first: the peer may have said why it stopped."""
    try:
        yield
    except ssl.SSLError as error:
        raise LinkFault(f"the encrypted link to {peer} failed: {tls_problem(error)}") from error
    except OSError as error:
        drain()
        raise LinkFault(f"the link to {peer} broke ({error.strerror or error})") from error


@dataclass(frozen=True)
class LinkCounters:
    """What has crossed the link so far, seen from one end; `waited_s` is the time spent in rounds."""

    bytes_sent: int = 0
    bytes_received: int = 0
    overhead_bytes: int = 0
    messages: int = 0
    rounds: int = 0
    waited_s: float = 0.0

    def after_round(self, bytes_sent: int, bytes_received: int, frames: int, waited_s: float) -> LinkCounters:
        """With one round more, of at most one message each way."""
        return LinkCounters(
            self.bytes_sent + bytes_sent,
            self.bytes_received + bytes_received,
            self.overhead_bytes + frames * HEADER.size,
            self.messages + (bytes_sent > 0),
            self.rounds + 1,
            self.waited_s + waited_s,
        )

    def __add__(self, other: LinkCounters) -> LinkCounters:
        return LinkCounters(
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
            self.overhead_bytes + other.overhead_bytes,
            self.messages + other.messages,
            self.rounds + other.rounds,
            self.waited_s + other.waited_s,
        )

    def __sub__(self, earlier: LinkCounters) -> LinkCounters:
        return LinkCounters(
            self.bytes_sent - earlier.bytes_sent,
            self.bytes_received - earlier.bytes_received,
            self.overhead_bytes - earlier.overhead_bytes,
            self.messages - earlier.messages,
            self.rounds - earlier.rounds,
            self.waited_s - earlier.waited_s,
        )


class Link:
    """One end of the link; `peer` names the other end in messages, which hears nothing of `local_paths`.

    Raises `LinkFault` when the peer is gone, says something else than the program expects, or is silent for
    `timeout_s`.
    """

    def __init__(
        self,
        connection: socket.socket,
        peer: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        local_paths: Sequence[Path] = (),
    ) -> None:
        checksum.load()
        # an encrypted socket has messages of its own
        self._round = None if isinstance(connection, ssl.SSLSocket) else compiled_round()
        self._local_paths = local_paths
        self.socket = connection
        self.peer = peer
        self.timeout_s = timeout_s
        self.sequence_out = self.sequence_in = 0
        self._ahead: bytes | None = None
        self.counters = LinkCounters()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connection.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; the peer sees the end of the stream."""
        self.socket.close()

    def hand_over(self) -> socket.socket:
        """The connected socket, for octets that are no frames of this link, which ends with this."""
        return self.socket

    def exchange(self, outgoing: np.ndarray | None, incoming_bytes: int) -> np.ndarray:
        """One round: send `outgoing` while receiving `incoming_bytes` octets as uint8."""
        started = time.perf_counter()
        payload = _NOTHING if outgoing is None else np.ascontiguousarray(outgoing).reshape(-1).view(np.uint8)
        received = np.empty(incoming_bytes, np.uint8)
        frames = self._transfer(payload, received)
        self.counters = self.counters.after_round(len(payload), incoming_bytes, frames, time.perf_counter() - started)
        return received

    def exchange_control(self, message: bytes) -> bytes:
        """Swap one message of the handshake, of any size up to 64 KiB; counted as overhead."""
        sender = Sender(CONTROL, memoryview(message), self.sequence_out)
        if self._ahead is None:
            received = self._swap_control(sender)
        else:
            received, self._ahead = self._ahead, None
            self._pump(sender, DataReceiver(memoryview(b""), self.sequence_in, self.peer))
        self.sequence_out += 1
        counted = self.counters
        self.counters = replace(counted, overhead_bytes=counted.overhead_bytes + HEADER.size + len(message))
        return received

    def hear_ahead(self) -> bytes:
        """The peer's next message of the handshake before this end's is sent; `exchange_control` still returns it."""
        if self._ahead is None:
            self._ahead = self._swap_control(Sender(DATA, memoryview(b""), self.sequence_out))
        return self._ahead

    def _swap_control(self, sender: Sender) -> bytes:
        receiver = ControlReceiver(self.sequence_in, self.peer)
        self._pump(sender, receiver)
        self.sequence_in += 1
        return bytes(receiver.payload)

    def abort(self, reason: str) -> None:
        """Tell the peer why this party stops, without paths of this machine, as far as the socket still takes it."""
        told = without_paths(reason, self._local_paths).encode()[:ABORT_LIMIT]
        sender = Sender(ABORT, memoryview(told), self.sequence_out)
        try:
            while not sender.done:
                if not sender.advance(self.socket):
                    return
        except OSError:
            return

    def _transfer(self, payload: np.ndarray, received: np.ndarray) -> int:
        """Send and fill; how many frames were sent."""
        if self._round is None or max(len(payload), len(received)) > FRAME_BYTES:
            return self._move(*self._ends(payload, received))
        found, sequences = np.empty(HEADER.size, np.uint8), (self.sequence_out, self.sequence_in)
        moved = self._round(self.socket, sequences, payload, found, received, self.timeout_s)
        if moved.state != WHOLE:
            return self._finish(payload, found, received, moved)
        self.sequence_out += len(payload) > 0
        self.sequence_in += len(received) > 0
        return int(len(payload) > 0)

    def _finish(self, payload: np.ndarray, found: np.ndarray, received: np.ndarray, moved: Moved) -> int:
        """Go on where a round stopped, or say why it cannot."""
        if moved.state == SILENT:
            raise self._stalled()
        sender, receiver = self._ends(payload, received)
        header = min(HEADER.size, moved.received)
        sender.skip(moved.sent)
        with told_as_faults(self.peer, lambda: receiver.drain(self.socket)):
            receiver.take(found[:header].tobytes(), received.data[: moved.received - header])
            if moved.error:
                raise OSError(moved.error, os.strerror(moved.error))
        return self._move(sender, receiver)

    def _ends(self, payload: np.ndarray, received: np.ndarray) -> tuple[Sender, DataReceiver]:
        sender = Sender(DATA, payload.data, self.sequence_out)
        return sender, DataReceiver(received.data, self.sequence_in, self.peer)

    def _move(self, sender: Sender, receiver: DataReceiver) -> int:
        self._pump(sender, receiver)
        self.sequence_out, self.sequence_in = sender.sequence, receiver.sequence
        return sender.frames

    def _stalled(self) -> LinkFault:
        return LinkFault(f"the link to {self.peer} stalled: nothing moved for {self.timeout_s:g} s")

    def _pump(self, sender: Sender, receiver: Receiver) -> None:
        """Move both directions until both are done."""
        deadline = time.monotonic() + self.timeout_s
        with told_as_faults(self.peer, lambda: receiver.drain(self.socket)):
            while not (sender.done and receiver.done):
                # reads first: a peer that hangs up has said why, and a failed write would hide it
                progress = not receiver.done and receiver.advance(self.socket)
                progress |= not sender.done and sender.advance(self.socket)
                if progress:
                    deadline = time.monotonic() + self.timeout_s
                elif not self._wait(deadline, sender.done, receiver.done):
                    raise self._stalled()

    def _wait(self, deadline: float, all_sent: bool, all_received: bool) -> bool:
        poll = select.poll()
        events = (0 if all_received else select.POLLIN) | (0 if all_sent else select.POLLOUT)
        poll.register(self.socket, events)
        remaining = deadline - time.monotonic()
        return remaining > 0 and bool(poll.poll(remaining * 1000))
