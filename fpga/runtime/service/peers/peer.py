"""How party 0's daemon reaches party 1's: it dials, and after a fault dials again with back-off."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...link.addresses import connect
from ...link.link import Link
from ...link.tls import secure

FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.1, 3.0
#: What the other end gets to finish the TLS handshake.
GREETING_S = 10.0


@dataclass(frozen=True)
class Peer:
    """Where the other server is, and with which keys they know each other.

    `timeout_s` of silence end a connection; of `local_paths` the other server hears nothing.
    """

    address: str
    tls: Path | None
    timeout_s: float
    local_paths: tuple[Path, ...]

    def link(self, connection: socket.socket, name: str) -> Link:
        """A link to the other server, which messages call `name`."""
        return Link(connection, name, self.timeout_s, self.local_paths)

    def dial(self) -> Link:
        """Party 0: a fresh authenticated link.

        Raises:
            ExecutionFault: nobody answers there, or not the expected party.
        """
        connection = connect(self.address, 1.0)
        if self.tls is not None:
            connection = secure(connection, self.tls, False, GREETING_S)
        return self.link(connection, "party 1's server")


def converse(peer: Peer, serve: Callable[[Link], None]) -> None:
    """Party 0: dial once and `serve`; the other end is told why when that fails.

    Raises:
        ExecutionFault, Refusal: nobody answers there, or `serve` raised it.
    """
    with peer.dial() as link:
        try:
            serve(link)
        except (Refusal, ExecutionFault) as error:
            link.abort(str(error))
            raise


def keep_conversing(converse_once: Callable[[], None], stop: threading.Event, complain: Callable[[str], None]) -> None:
    """Party 0: converse until `stop` is set; after a fault wait a little, and longer while faults go on."""
    backoff_s = FIRST_BACKOFF_S
    while not stop.is_set():
        started = time.monotonic()
        try:
            converse_once()
            backoff_s = FIRST_BACKOFF_S
            continue
        except (Refusal, ExecutionFault, OSError) as error:
            complain(str(error))
        if time.monotonic() - started > LAST_BACKOFF_S:
            backoff_s = FIRST_BACKOFF_S
        stop.wait(backoff_s * random.uniform(0.5, 1.0))
        backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
