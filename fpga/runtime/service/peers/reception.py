"""A door at which parties come as they like: every connection that proves to be one's is served in a thread."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...link.link import Link
from ...link.listener import Door
from ...link.tls import TlsIdentity
from ..telemetry import Telemetry
from .peer import GREETING_S, Peer

LOOK_AGAIN_S = 0.5
#: Serves one connection until it ends; the second argument is the certificate (DER) that it came with, if any.
Serve = Callable[[Link, bytes | None], None]


class Reception:
    """A listening socket and a thread per party that came.

    Args:
        peer: who comes, where to listen, how long they may be silent.
        identity: this server's key and whom it expects; None takes parties of this machine.
        most: connections that are served at a time; strangers take none of these places.
        serve: serves one.
        stop: ends the accepting.
        telemetry: hears why a connection ended.

    Raises:
        Refusal, ExecutionFault: the address cannot be listened on.
    """

    def __init__(
        self,
        peer: Peer,
        identity: TlsIdentity | None,
        most: int,
        serve: Serve,
        stop: threading.Event,
        telemetry: Telemetry,
    ) -> None:
        self._peer, self._serve, self._stop, self._telemetry = peer, serve, stop, telemetry
        self._places = threading.BoundedSemaphore(most)
        self._serving: set[threading.Thread] = set()
        self._door = Door(peer.address, identity, GREETING_S)

    def run(self) -> None:
        """Accept until `stop` is set."""
        with self._door as door:
            while not self._stop.is_set():
                connection = door.next(time.monotonic() + LOOK_AGAIN_S)
                if connection is not None:
                    self._admit(connection)

    def expect(self, identity: TlsIdentity | None) -> None:
        """Let those come from now on."""
        self._door.tls = identity

    def finish(self, timeout_s: float) -> None:
        """Wait for the connections that are being served."""
        deadline = time.monotonic() + timeout_s
        for thread in self._serving:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _admit(self, connection: socket.socket) -> None:
        if self._places.acquire(blocking=False):
            thread = threading.Thread(target=self._greet, args=(connection,), daemon=True)
            self._serving = {each for each in self._serving if each.is_alive()} | {thread}
            thread.start()
            return
        with self._peer.link(connection) as link:
            link.abort("all places are taken; come again a little later")

    def _greet(self, connection: socket.socket) -> None:
        certificate = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLSocket) else None
        try:
            with self._peer.link(connection) as link:
                try:
                    self._serve(link, certificate)
                except (Refusal, ExecutionFault) as error:
                    link.abort(str(error))
                    raise
        except (Refusal, ExecutionFault, OSError) as error:
            if not self._stop.is_set():
                self._telemetry.log("connection ended", reason=str(error))
        finally:
            with contextlib.suppress(OSError):
                connection.close()
            self._places.release()
