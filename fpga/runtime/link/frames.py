"""Frames of the link: a header of 16 octets (magic, version, kind, sequence, length, CRC-32) and a payload."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rrnet_nni.base.errors import ExecutionFault

from ...native.checksum import crc32

WIRE_VERSION = 1

DATA, CONTROL, ABORT = 1, 2, 3

FRAME_BYTES = 1 << 22

CONTROL_LIMIT_BYTES = 1 << 16

#: Octets of the sentence in which a party says why it stops.
ABORT_LIMIT = 1000

HEADER = struct.Struct("!2sBBIII")

FRAME_MAGIC = b"R2"

#: What a peer reads in place of a path of this machine.
LOCAL_FILE = "(a local file)"


class LinkFault(ExecutionFault):
    """The link or the party at its other end failed."""


def printable(said: object) -> str:
    """What the peer said, without what would steer the terminal that shows it."""
    return "".join(character if character.isprintable() else "?" for character in str(said)[:ABORT_LIMIT])


def without_paths(sentence: str, known: Iterable[Path] = ()) -> str:
    """A sentence for the peer: from the first path to the end of the last one nothing is left, blanks among it.

    Where the last name of a path ends cannot be seen when it holds blanks: such paths have to be `known`.
    """
    names = {str(form) for path in known for form in (path, path.absolute(), path.resolve())} - {".", "..", "/"}
    for name in sorted(names, key=len, reverse=True):
        sentence = re.sub(rf"(?<![\w/.-]){re.escape(name)}(?![\w-])(?:[./][^\s:;,]*)?", LOCAL_FILE, sentence)
    return re.sub(r"\S*/(?:.*/)?[^\s:;,]*", LOCAL_FILE, sentence, flags=re.DOTALL)


class Sender:
    """Cuts a payload into frames and writes as much as the socket takes."""

    def __init__(self, kind: int, payload: memoryview, sequence: int) -> None:
        self._kind, self._payload, self.sequence = kind, payload, sequence
        self._position = 0
        self._pending = memoryview(b"")
        self._body = memoryview(b"")
        self.frames = 0
        self.done = len(payload) == 0 and kind not in (CONTROL, ABORT)

    @property
    def at_frame(self) -> bool:
        """Whether the next octet begins a frame."""
        return not self._pending and not self._body

    def advance(self, connection: socket.socket) -> bool:
        """Send what the socket takes now; False when it takes nothing."""
        if self.at_frame:
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

    def skip(self, count: int) -> None:
        """The first frame begins and so many of its octets have been sent."""
        if self.done:
            return
        self._next_frame()
        header = min(count, len(self._pending))
        self._pending, self._body = self._pending[header:], self._body[count - header :]
        self.done = not self._pending and not self._body and self._position == len(self._payload)

    def _next_frame(self) -> None:
        body = self._payload[self._position : self._position + FRAME_BYTES]
        self._position += len(body)
        header = frame_header(self._kind, self.sequence, len(body), crc32(body))
        self.sequence += 1
        self.frames += 1
        if len(body) <= 1 << 16:
            self._pending, self._body = memoryview(header + bytes(body)), memoryview(b"")
        else:
            self._pending, self._body = memoryview(header), body


class Receiver:
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

    def accepts(self, kind: int) -> bool:
        """Whether a frame of this kind is due."""
        return kind == DATA

    def advance(self, connection: socket.socket) -> bool:
        """Read what has arrived; False when there is nothing."""
        try:
            if self._body is None:
                part = connection.recv(HEADER.size - len(self._header))
                self._require(len(part))
                self._header += part
                if len(self._header) == HEADER.size:
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

    def take(self, header: bytes, body: memoryview) -> None:
        """Octets of the first frame have been read: of its header, and of its payload."""
        if self.done:
            return
        self._header += header
        if len(self._header) < HEADER.size:
            return
        self._open_frame()
        assert self._body is not None
        self._filled = min(len(body), len(self._body))
        self._body[: self._filled] = body[: self._filled]
        if self._filled == len(self._body):
            self._close_frame()

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
        magic, version, kind, sequence, length, self._checksum = HEADER.unpack(self._header)
        self._kind = kind
        if magic != FRAME_MAGIC:
            raise LinkFault(f"{self._peer} does not speak the protocol of this link")
        if version != WIRE_VERSION:
            raise LinkFault(f"{self._peer} speaks wire version {version}, this is version {WIRE_VERSION}")
        if kind == ABORT and length <= ABORT_LIMIT:
            self._body = memoryview(bytearray(length))
        elif not self.accepts(kind) or sequence != self.sequence:
            raise LinkFault(f"{self._peer} sent frame {sequence} of kind {kind} where frame {self.sequence} is due")
        else:
            self._body = self.place(length)
        self._filled = 0

    def _close_frame(self) -> None:
        body = self._body
        if body is None or crc32(body) != self._checksum:
            raise LinkFault(f"a frame from {self._peer} was damaged on the way (checksum)")
        if self._kind == ABORT:
            raise LinkFault(f"{self._peer} stopped: {printable(bytes(body).decode(errors='replace'))}")
        self.sequence += 1
        self._header.clear()
        self._body = None
        self.done = self.finished()


class DataReceiver(Receiver):
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


class ControlReceiver(Receiver):
    """Reads one message of any size up to the limit."""

    def __init__(self, sequence: int, peer: str) -> None:
        super().__init__(sequence, peer)
        self.payload = bytearray()

    def accepts(self, kind: int) -> bool:
        return kind == CONTROL

    def place(self, length: int) -> memoryview:
        if not 0 < length <= CONTROL_LIMIT_BYTES:
            raise LinkFault(f"{self._peer} sent a handshake of {length} bytes")
        self.payload = bytearray(length)
        return memoryview(self.payload)

    def finished(self) -> bool:
        return True


def frame_header(kind: int, sequence: int, length: int, checksum: int) -> bytes:
    return HEADER.pack(FRAME_MAGIC, WIRE_VERSION, kind, sequence & 0xFFFFFFFF, length, checksum)


def checksum_in(header: np.ndarray) -> int:
    """The checksum that a header names, of octets."""
    return int.from_bytes(header[-4:].tobytes(), "big")
