"""The link between two parties: framed, checksummed messages over one connected socket.

A frame is a header of 16 octets (magic, version, kind, sequence, length, CRC-32) and its payload. A round sends and
receives at once, so that two large messages never wait for each other; the socket's own flow control holds a fast
sender back. Every payload octet is counted; headers and the handshake are counted apart.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
import zlib
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np

from rrnet_nni.base.errors import ExecutionFault

WIRE_VERSION = 1
DATA, CONTROL, ABORT = 1, 2, 3
FRAME_BYTES = 1 << 22
SOCKET_BUFFER_BYTES = 1 << 22
CONTROL_LIMIT_BYTES = 1 << 16
#: Octets of the sentence in which a party says why it stops.
ABORT_LIMIT = 1000
DEFAULT_TIMEOUT_S = 60.0

_HEADER = struct.Struct("!2sBBIII")
_MAGIC = b"R2"


@dataclass(frozen=True)
class LinkCounters:
    """What has crossed the link so far, seen from one end; `waited_s` is the time spent in rounds."""

    bytes_sent: int = 0
    bytes_received: int = 0
    overhead_bytes: int = 0
    messages: int = 0
    rounds: int = 0
    waited_s: float = 0.0

    def __sub__(self, earlier: LinkCounters) -> LinkCounters:
        return LinkCounters(
            self.bytes_sent - earlier.bytes_sent,
            self.bytes_received - earlier.bytes_received,
            self.overhead_bytes - earlier.overhead_bytes,
            self.messages - earlier.messages,
            self.rounds - earlier.rounds,
            self.waited_s - earlier.waited_s,
        )


class LinkFault(ExecutionFault):
    """The link or the party at its other end failed."""


def printable(said: object) -> str:
    """What the peer said, without what would steer the terminal that shows it."""
    return "".join(character if character.isprintable() else "?" for character in str(said)[:ABORT_LIMIT])


class Link:
    """One end of the link; `peer` names the other end in messages.

    Raises `LinkFault` when the peer is gone, says something else than the program expects, or is silent for
    `timeout_s`.
    """

    def __init__(self, connection: socket.socket, peer: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._socket = connection
        self._peer = peer
        self._timeout_s = timeout_s
        self._sequence_out = self._sequence_in = 0
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
        self._socket.close()

    def exchange(self, outgoing: np.ndarray | None, incoming_bytes: int) -> np.ndarray:
        """One round: send `outgoing` while receiving `incoming_bytes` octets as uint8."""
        started = time.perf_counter()
        payload = memoryview(b"") if outgoing is None else np.ascontiguousarray(outgoing).data.cast("B")
        received = np.empty(incoming_bytes, np.uint8)
        frames = self._transfer(DATA, payload, received.data)
        counted = self.counters
        self.counters = replace(
            counted,
            bytes_sent=counted.bytes_sent + len(payload),
            bytes_received=counted.bytes_received + incoming_bytes,
            overhead_bytes=counted.overhead_bytes + frames * _HEADER.size,
            messages=counted.messages + (len(payload) > 0),
            rounds=counted.rounds + 1,
            waited_s=counted.waited_s + time.perf_counter() - started,
        )
        return received

    def exchange_control(self, message: bytes) -> bytes:
        """Swap one message of the handshake, of any size up to 64 KiB; counted as overhead."""
        sender = _Sender(CONTROL, memoryview(message), self._sequence_out)
        receiver = _ControlReceiver(self._sequence_in, self._peer)
        self._pump(sender, receiver)
        self._sequence_out += 1
        self._sequence_in += 1
        counted = self.counters
        self.counters = replace(counted, overhead_bytes=counted.overhead_bytes + _HEADER.size + len(message))
        return bytes(receiver.payload)

    def abort(self, reason: str) -> None:
        """Tell the peer why this party stops, as far as the socket still takes it."""
        sender = _Sender(ABORT, memoryview(reason.encode()[:ABORT_LIMIT]), self._sequence_out)
        try:
            while not sender.done:
                if not sender.advance(self._socket):
                    return
        except OSError:
            return

    def _transfer(self, kind: int, payload: memoryview, received: memoryview) -> int:
        sender = _Sender(kind, payload, self._sequence_out)
        receiver = _DataReceiver(received, self._sequence_in, self._peer)
        self._pump(sender, receiver)
        self._sequence_out, self._sequence_in = sender.sequence, receiver.sequence
        return sender.frames

    def _pump(self, sender: _Sender, receiver: _Receiver) -> None:
        """Move both directions until both are done."""
        deadline = time.monotonic() + self._timeout_s
        while not (sender.done and receiver.done):
            try:
                progress = not sender.done and sender.advance(self._socket)
                progress |= not receiver.done and receiver.advance(self._socket)
            except ssl.SSLError as error:
                raise LinkFault(f"the encrypted link to {self._peer} failed ({error.reason or error})") from error
            except OSError as error:
                receiver.drain(self._socket)
                raise LinkFault(f"the link to {self._peer} broke ({error.strerror or error})") from error
            if progress:
                deadline = time.monotonic() + self._timeout_s
            elif not self._wait(deadline, sender.done, receiver.done):
                raise LinkFault(f"the link to {self._peer} stalled: nothing moved for {self._timeout_s:g} s")

    def _wait(self, deadline: float, all_sent: bool, all_received: bool) -> bool:
        poll = select.poll()
        events = (0 if all_received else select.POLLIN) | (0 if all_sent else select.POLLOUT)
        poll.register(self._socket, events)
        remaining = deadline - time.monotonic()
        return remaining > 0 and bool(poll.poll(remaining * 1000))


class _Sender:
    """Cuts a payload into frames and writes as much as the socket takes."""

    def __init__(self, kind: int, payload: memoryview, sequence: int) -> None:
        self._kind, self._payload, self.sequence = kind, payload, sequence
        self._position = 0
        self._pending = memoryview(b"")
        self._body = memoryview(b"")
        self.frames = 0
        self.done = len(payload) == 0 and kind == DATA

    def advance(self, connection: socket.socket) -> bool:
        """Send what the socket takes now; False when it takes nothing."""
        if not self._pending and not self._body:
            self._next_frame()
        try:
            if self._pending:
                self._pending = self._pending[connection.send(self._pending) :]
            else:
                self._body = self._body[connection.send(self._body) :]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        self.done = not self._pending and not self._body and self._position == len(self._payload)
        return True

    def _next_frame(self) -> None:
        body = self._payload[self._position : self._position + FRAME_BYTES]
        self._position += len(body)
        header = _header(self._kind, self.sequence, len(body), zlib.crc32(body))
        self.sequence += 1
        self.frames += 1
        if len(body) <= 1 << 16:
            self._pending, self._body = memoryview(header + bytes(body)), memoryview(b"")
        else:
            self._pending, self._body = memoryview(header), body


class _Receiver:
    """Reads frames; subclasses say where a payload goes."""

    def __init__(self, sequence: int, peer: str) -> None:
        self.sequence = sequence
        self._peer = peer
        self._header = bytearray()
        self._body: memoryview | None = None
        self._filled = 0
        self._checksum = 0
        self.done = False

    def place(self, length: int) -> memoryview:
        """Where the payload of the next frame goes; raises LinkFault for a length that is not expected."""
        raise NotImplementedError

    def finished(self) -> bool:
        raise NotImplementedError

    kind = DATA

    def advance(self, connection: socket.socket) -> bool:
        """Read what has arrived; False when there is nothing."""
        try:
            if self._body is None:
                part = connection.recv(_HEADER.size - len(self._header))
                self._require(len(part))
                self._header += part
                if len(self._header) == _HEADER.size:
                    self._open_frame()
            else:
                count = connection.recv_into(self._body[self._filled :])
                self._require(count)
                self._filled += count
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if self._body is not None and self._filled == len(self._body):
            self._close_frame()
        return True

    def drain(self, connection: socket.socket) -> None:
        """After a failed send: read on, since the peer may have said why it stopped (raises LinkFault then)."""
        try:
            while self.advance(connection):
                continue
        except OSError:
            return

    def _require(self, count: int) -> None:
        if count == 0:
            raise LinkFault(f"{self._peer} closed the link before the computation was complete")

    def _open_frame(self) -> None:
        magic, version, kind, sequence, length, self._checksum = _HEADER.unpack(self._header)
        self._kind = kind
        if magic != _MAGIC:
            raise LinkFault(f"{self._peer} does not speak the protocol of this link")
        if version != WIRE_VERSION:
            raise LinkFault(f"{self._peer} speaks wire version {version}, this is version {WIRE_VERSION}")
        if kind == ABORT and length <= ABORT_LIMIT:
            self._body = memoryview(bytearray(length))
        elif kind != self.kind or sequence != self.sequence:
            raise LinkFault(f"{self._peer} sent frame {sequence} of kind {kind} where frame {self.sequence} is due")
        else:
            self._body = self.place(length)
        self._filled = 0

    def _close_frame(self) -> None:
        body = self._body
        if body is None or zlib.crc32(body) != self._checksum:
            raise LinkFault(f"a frame from {self._peer} was damaged on the way (checksum)")
        if self._kind == ABORT:
            raise LinkFault(f"{self._peer} stopped: {printable(bytes(body).decode(errors='replace'))}")
        self.sequence += 1
        self._header.clear()
        self._body = None
        self.done = self.finished()


class _DataReceiver(_Receiver):
    """Fills a buffer of known size, frame by frame."""

    def __init__(self, target: memoryview, sequence: int, peer: str) -> None:
        super().__init__(sequence, peer)
        self._target, self._position = target, 0
        self.done = len(target) == 0

    def place(self, length: int) -> memoryview:
        expected = min(FRAME_BYTES, len(self._target) - self._position)
        if length != expected:
            raise LinkFault(f"{self._peer} sent {length} bytes where the program expects {expected}")
        start, self._position = self._position, self._position + length
        return self._target[start : self._position]

    def finished(self) -> bool:
        return self._position == len(self._target)


class _ControlReceiver(_Receiver):
    """Reads one message of any size up to the limit."""

    kind = CONTROL

    def __init__(self, sequence: int, peer: str) -> None:
        super().__init__(sequence, peer)
        self.payload = bytearray()

    def place(self, length: int) -> memoryview:
        if not 0 < length <= CONTROL_LIMIT_BYTES:
            raise LinkFault(f"{self._peer} sent a handshake of {length} bytes")
        self.payload = bytearray(length)
        return memoryview(self.payload)

    def finished(self) -> bool:
        return True


def _header(kind: int, sequence: int, length: int, checksum: int) -> bytes:
    return _HEADER.pack(_MAGIC, WIRE_VERSION, kind, sequence & 0xFFFFFFFF, length, checksum)
