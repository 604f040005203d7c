"""A round of small messages in C: a frame each way, as fast as the socket moves them.

Whatever is not two whole frames is left to the code that knows the sentences, which goes on where this stopped.
"""

from __future__ import annotations

import ctypes
import functools
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...native.backend import choose
from ...native.library import address, build_library, load_library
from .frames import DATA, HEADER, frame_header

_SOURCE = Path(__file__).with_name("round.c")
#: What `exchange_frames` returns where both frames are whole, and where nothing moved for too long.
WHOLE, SILENT = 0, 3


@dataclass(frozen=True)
class Moved:
    """What has moved of two frames: how it ended, octets sent and received with their headers, the socket's error."""

    state: int
    sent: int
    received: int
    error: int


class CompiledRound:
    """Moves two frames; raises `CompilationUnavailable` where that cannot be built."""

    def __init__(self) -> None:
        pointer, size, flag = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
        signature = [flag, pointer, pointer, size, pointer, pointer, pointer, size, size, pointer, pointer]
        self._library = load_library(build_library(_SOURCE), {"exchange_frames": (flag, signature)})

    def __call__(
        self,
        connection: socket.socket,
        header: bytes,
        outgoing: np.ndarray,
        sequence: int,
        found: np.ndarray,
        incoming: np.ndarray,
        timeout_s: float,
    ) -> Moved:
        """Send a header and a message, receive a header into `found` and a message; what is empty has no frame."""
        expected = frame_header(DATA, sequence, len(incoming), 0)
        moved, error = (ctypes.c_int64 * 2)(), ctypes.c_int()
        state = self._library.exchange_frames(
            *(connection.fileno(), header, address(outgoing), len(outgoing), expected),
            *(address(found), address(incoming), len(incoming), round(1000 * timeout_s)),
            *(ctypes.byref(moved), ctypes.byref(error)),
        )
        return Moved(state, *moved, error.value)


#: As `CompiledRound`, or None where frames move by Python alone.
Round = Callable[[socket.socket, bytes, np.ndarray, int, np.ndarray, np.ndarray, float], Moved]


@functools.cache
def compiled_round() -> Round | None:
    """The compiled form where it is wanted and works."""
    compiled: Callable[[], Round | None] = CompiledRound
    return choose(compiled, lambda: None, _crosses)


def _crosses(moves: Round | None) -> bool:
    """Whether frames that a socket holds already are read, and others written as they are."""
    if moves is None:
        return False
    first, second = socket.socketpair()
    message, found, incoming = np.arange(40, dtype=np.uint8), np.zeros(HEADER.size, np.uint8), np.zeros(40, np.uint8)
    header = frame_header(DATA, 3, 40, 7)
    with first, second:
        first.setblocking(False)
        second.sendall(header + message.tobytes())
        moved = moves(first, header, message, 3, found, incoming, 1.0)
        written = second.recv(100)
    whole = HEADER.size + 40
    return (
        moved == Moved(WHOLE, whole, whole, 0)
        and written == header + message.tobytes()
        and found.tobytes() == header
        and np.array_equal(incoming, message)
    )
