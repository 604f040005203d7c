"""How a daemon reaches another one, or is reached: who comes dials, and after a fault dials again with back-off."""

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
from ..models.model import Model
from ..telemetry import Telemetry

FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.1, 3.0
#: What the other end gets to finish the TLS handshake.
GREETING_S = 10.0


@dataclass(frozen=True)
class Peer:
    """Where the other end is, what messages call it, and with which keys both know each other.

    `timeout_s` of silence end a connection; of `local_paths` the other end hears nothing.
    """

    name: str
    address: str
    tls: Path | None
    timeout_s: float
    local_paths: tuple[Path, ...]

    def link(self, connection: socket.socket) -> Link:
        """A link to the other end."""
        return Link(connection, self.name, self.timeout_s, self.local_paths)

    def dial(self) -> Link:
        """A fresh authenticated link.

        Raises:
            ExecutionFault: nobody answers there, or not the expected party.
        """
        connection = connect(self.address, 1.0)
        if self.tls is not None:
            connection = secure(connection, self.tls, False, GREETING_S)
        return self.link(connection)


def converse(peer: Peer, serve: Callable[[Link], None]) -> None:
    """Dial once and `serve`; the other end is told why when that fails.

    Raises:
        ExecutionFault, Refusal: nobody answers there, or `serve` raised it.
    """
    with peer.dial() as link:
        try:
            serve(link)
        except (Refusal, ExecutionFault) as error:
            link.abort(str(error))
            raise


def converse_for(model: Model, converse_once: Callable[[], None], event: str, telemetry: Telemetry) -> None:
    """Converse for a model until it has ended; faults are counted and logged as `event`."""

    def complain(reason: str) -> None:
        if not model.ended.is_set():
            telemetry.faults.labels(model.name).inc()
            telemetry.log(event, model=model.name, reason=reason)

    keep_conversing(converse_once, model.ended, complain)


def keep_conversing(converse_once: Callable[[], None], stop: threading.Event, complain: Callable[[str], None]) -> None:
    """Converse until `stop` is set; after a fault wait a little, and longer while faults go on."""
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
