"""Wait for the other party where strangers can connect too: port scans, half handshakes, wrong certificates.

All connections shake hands side by side, each within a time limit of its own; one that proves to be the expected party
is taken. With TLS that is its exact certificate. Without, on one machine, the first octets of a frame
tell a party from what merely opened the port; they authenticate nobody.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rrnet_nni.base.errors import ExecutionFault

from .addresses import listen
from .frames import FRAME_MAGIC
from .tls import TlsIdentity, load_identity
from .tls_problems import tls_problem

#: How long a connection may take until it has proved who it is.
HANDSHAKE_S = 10.0
#: Connections that shake hands at a time; beyond it the one that has waited longest goes.
MOST_PENDING = 64


class Stranger(Exception):
    """A connection that is not the other party's, and why."""


@dataclass
class Candidate:
    """A connection that has not yet proved whose it is."""

    connection: socket.socket
    expires: float

    def advance(self) -> int:
        """Go on as far as the other end allows: the events to wait for, 0 when it is the other party.

        Raises:
            Stranger: it is not.
        """
        try:
            heard = self.connection.recv(len(FRAME_MAGIC), socket.MSG_PEEK)
        except BlockingIOError:
            return selectors.EVENT_READ
        except OSError as error:
            raise Stranger(f"it broke off ({error.strerror or error})") from error
        if not heard:
            raise Stranger("it said nothing and went")
        if heard != FRAME_MAGIC:  # a party sends a whole header at once
            raise Stranger("it does not speak the protocol of this link")
        return 0


@dataclass
class TlsCandidate(Candidate):
    """The same where the handshake of TLS proves it."""

    identity: TlsIdentity = field(kw_only=True)

    def advance(self) -> int:
        assert isinstance(self.connection, ssl.SSLSocket)
        try:
            self.connection.do_handshake()
        except ssl.SSLWantReadError:
            return selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return selectors.EVENT_WRITE
        except (OSError, ValueError) as error:
            raise Stranger(tls_problem(error)) from error
        problem = self.identity.problem_with(self.connection)
        if problem is not None:
            raise Stranger(problem)
        return 0


def accept_one(
    address: str, timeout_s: float, identity: Path | None = None, handshake_s: float = HANDSHAKE_S
) -> socket.socket:
    """Wait for the other party, whoever else connects meanwhile.

    Args:
        address: HOST:PORT to listen on; `[::]` takes both families.
        timeout_s: how long to wait in all.
        identity: directory of this party's key and certificates; None takes a party of this machine without TLS.
        handshake_s: how long one connection may take to prove who it is.

    Raises:
        Refusal: the address or the directory's files are not what they should be.
        ExecutionFault: the address cannot be listened on, or the other party did not come in time.
    """
    tls = None if identity is None else load_identity(identity, server_side=True)
    with Door(address, tls, handshake_s) as door:
        found = door.next(time.monotonic() + timeout_s)
        if found is None:
            raise ExecutionFault(f"nobody connected to {address} within {timeout_s:g} s{door.turned_away}")
        return found


class Door:
    """A listening socket through which only expected parties come; strangers wait outside, in the order they came.

    Args:
        address: HOST:PORT to listen on.
        tls: this party's key and whom it expects; None takes parties of this machine without TLS.
        handshake_s: how long one connection may take to prove who it is.

    Raises:
        Refusal, ExecutionFault: the address is none, or cannot be listened on.
    """

    def __init__(self, address: str, tls: TlsIdentity | None, handshake_s: float = HANDSHAKE_S) -> None:
        self.tls = tls
        self._handshake_s = handshake_s
        self._pending: dict[socket.socket, Candidate] = {}
        self._strangers, self._last = 0, ""
        self._server = listen(address, MOST_PENDING)
        self._server.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)

    def __enter__(self) -> Door:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in (self._server, *self._pending):
            connection.close()
        self._selector.close()

    @property
    def turned_away(self) -> str:
        """How many strangers came and why the last one was one, for a sentence; nothing where none came."""
        if not self._strangers:
            return ""
        return f" ({self._strangers} other connections were turned away; the last one: {self._last})"

    def next(self, deadline: float) -> socket.socket | None:
        """The next party's connection; None when nobody proved to be one until `deadline` (monotonic)."""
        while (now := time.monotonic()) < deadline:
            self._expire(now)
            expiries = [candidate.expires for candidate in self._pending.values()]
            for key, _ in self._selector.select(min([deadline, *expiries]) - now):
                found = self._accept() if key.data is None else self._advance(key.data)
                if found is not None:
                    return found
        return None

    def _accept(self) -> socket.socket | None:
        try:
            connection, _ = self._server.accept()
        except OSError:  # it went before it was taken
            return None
        connection.setblocking(False)
        expires = time.monotonic() + self._handshake_s
        try:
            if self.tls is None:
                candidate = Candidate(connection, expires)
            else:
                wrapped = self.tls.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                candidate = TlsCandidate(wrapped, expires, identity=self.tls)
        except OSError as error:
            self._turn_away(connection, tls_problem(error))
            return None
        if len(self._pending) == MOST_PENDING:
            self._drop(next(iter(self._pending.values())), "it took longer than those that came after it")
        self._pending[candidate.connection] = candidate
        self._selector.register(candidate.connection, selectors.EVENT_READ, candidate)
        return self._advance(candidate)

    def _advance(self, candidate: Candidate) -> socket.socket | None:
        if candidate.connection not in self._pending:  # dropped since it was selected
            return None
        try:
            events = candidate.advance()
        except Stranger as stranger:
            self._drop(candidate, str(stranger))
            return None
        if events:
            self._selector.modify(candidate.connection, events, candidate)
            return None
        self._selector.unregister(candidate.connection)
        del self._pending[candidate.connection]
        return candidate.connection

    def _expire(self, now: float) -> None:
        for candidate in [each for each in self._pending.values() if each.expires <= now]:
            self._drop(candidate, f"it did not prove who it is within {self._handshake_s:g} s")

    def _drop(self, candidate: Candidate, reason: str) -> None:
        self._selector.unregister(candidate.connection)
        del self._pending[candidate.connection]
        self._turn_away(candidate.connection, reason)

    def _turn_away(self, connection: socket.socket, reason: str) -> None:
        connection.close()
        self._strangers, self._last = self._strangers + 1, reason
