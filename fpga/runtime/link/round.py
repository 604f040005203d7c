"""A round of small messages in C: a frame each way, as fast as the socket moves them.

Whatever is not two whole frames is left to the code that knows the sentences, which goes on where this stopped.
"""

from __future__ import annotations

import ctypes
import functools
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...native.backend import choose
from ...native.checksum import crc32
from ...native.library import OPTIONS, address, build_library, load_library
from .frames import DATA, HEADER, checksum_in, frame_header

_SOURCE = Path(__file__).with_name("round.c")
#: What `exchange_frames` returns where both frames are whole, and where nothing moved for too long;
#: and what a wrong checksum makes of it.
WHOLE, SILENT, DAMAGED = 0, 3, 6


@dataclass(frozen=True)
class Moved:
    """What has moved of two frames: how it ended, octets sent and received with their headers, the socket's error."""

    state: int
    sent: int
    received: int
    error: int


class CompiledRound:
    """Moves two frames; raises `CompilationUnavailable` where that cannot be built.

    `checks` says whether it computes and compares checksums itself.
    """

    def __init__(self, options: tuple[str, ...] = OPTIONS) -> None:
        pointer, size, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
        signature = [flag, pointer, ctypes.c_uint32, pointer, size, *(pointer,) * 3, size, size, pointer, pointer]
        functions = {"round_checks": (flag, []), "exchange_frames": (flag, signature)}
        self._library = load_library(build_library(_SOURCE, options), functions)
        self.checks = bool(self._library.round_checks())

    def __call__(
        self,
        connection: socket.socket,
        sequences: tuple[int, int],
        outgoing: np.ndarray,
        found: np.ndarray,
        incoming: np.ndarray,
        timeout_s: float,
    ) -> Moved:
        """Send a message, receive a header into `found` and a message; what is empty has no frame.

        Args:
            connection: a socket that does not block, and encrypts nothing.
            sequences: numbers of the outgoing frame and of the incoming one.
            outgoing, found, incoming: octets.
            timeout_s: for how long nothing may move.
        """
        sends = frame_header(DATA, sequences[0], len(outgoing), 0)
        expected = frame_header(DATA, sequences[1], len(incoming), 0)
        checksum = 0 if self.checks else crc32(outgoing.data)
        moved, error = (ctypes.c_int64 * 2)(), ctypes.c_int()
        state = self._library.exchange_frames(
            *(connection.fileno(), sends, checksum, address(outgoing), len(outgoing), expected, address(found)),
            *(address(incoming), len(incoming), round(1000 * timeout_s), ctypes.byref(moved), ctypes.byref(error)),
        )
        if state == WHOLE and len(incoming) and not self.checks and checksum_in(found) != crc32(incoming.data):
            state = DAMAGED
        return Moved(state, moved[0], moved[1], error.value)


@functools.cache
def compiled_round() -> CompiledRound | None:
    """The compiled form where it is wanted and works; None where frames move by Python alone."""
    compiled: Callable[[], CompiledRound | None] = CompiledRound
    return choose(compiled, lambda: None, _crosses)


def _crosses(moves: CompiledRound | None) -> bool:
    """Whether frames that a socket holds already are read, and others written as they are to be."""
    if moves is None:
        return False
    first, second = socket.socketpair()
    with first, second:
        first.setblocking(False)
        for count in (3, 40, 700):
            message = np.arange(count).astype(np.uint8)
            found, incoming = np.zeros(HEADER.size, np.uint8), np.zeros(count, np.uint8)
            octets = frame_header(DATA, count, count, zlib.crc32(message.data)) + message.tobytes()
            second.sendall(octets)
            moved = moves(first, (count, count), message, found, incoming, 1.0)
            read = found.tobytes() + incoming.tobytes()
            whole = moved == Moved(WHOLE, len(octets), len(octets), 0)
            if not (whole and read == octets and second.recv(1000) == octets):
                return False
    return True
