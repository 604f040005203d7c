"""One party's daemon: what works for its models in threads, its HTTP side in the main one."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from ..link.addresses import listen
from ..link.tls import TlsIdentity
from .models.catalogue import Catalogue
from .models.model import Model
from .peers.answering import MOST_CONNECTIONS, Answering
from .peers.dialling import Dialling
from .peers.filling import Marks
from .peers.peer import Peer
from .peers.reception import Reception
from .peers.taking import Taking
from .signals import heard
from .staff import DRAIN_S, Staff
from .telemetry import Telemetry
from .web.application import Desk, web_application
from .web.connection import ClientConnection
from .web.limits import RateLimit

#: Connections of clients at a time; more are answered by 503 without a look at them.
MOST_CLIENTS = 1000
#: Clients that may have connected before they are looked at.
CONNECTIONS_AHEAD = 1024
IDLE_CLIENT_S = 30
#: The lanes' threads keep the interpreter for so long at most while an answer waits to be sent (Python's own is 5 ms).
SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True)
class Front:
    """Where clients are answered, and by which certificate (None: in plain, for this machine or behind a proxy)."""

    address: str
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Settings:
    """What an operator may choose: `lanes` are executions in flight per model.

    With `marks` the two parties fill their pools, with a `dealer` it does; without both an operator must.
    """

    window_s: float = 0.004
    lanes: int = 2
    expiry_s: float = 10.0
    per_second: float = 0.0
    marks: Marks | None = None
    servers: tuple[str, ...] = ()
    dealer: Peer | None = None


class Daemon:
    """One party's server.

    Args:
        party: 0 or 1.
        catalogue: its models.
        peer: the other party's server; at party 1 the address to listen on.
        identity: this party's key and the other's certificate; None on one machine.
        front: where clients come.
        settings: what the operator chose.
    """

    def __init__(
        self,
        party: int,
        catalogue: Catalogue,
        peer: Peer,
        identity: TlsIdentity | None,
        front: Front,
        settings: Settings,
    ) -> None:
        self._party, self._peer, self._identity, self._front = party, peer, identity, front
        self._stop = threading.Event()
        self._telemetry = Telemetry(party)
        self._catalogue = catalogue
        self._dialling = Dialling(peer, settings.lanes, settings.window_s, settings.marks, self._telemetry)
        self._dealer = None if settings.dealer is None else Taking(settings.dealer, self._telemetry)
        self._staff = Staff(catalogue, self._tasks, self._telemetry)
        rate = RateLimit(settings.per_second)
        self._desk = Desk(catalogue, self._telemetry, rate, settings.expiry_s, settings.servers, party=party)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish what has begun; at SIGHUP read the list of models anew.

        Raises:
            ExecutionFault: an address cannot be listened on.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.freeze()  # what is there now stays: no use in looking through it again and again
        with listen(self._front.address, CONNECTIONS_AHEAD) as listening:
            host, port = listening.getsockname()[:2]
            reception = self._start_reception()
            self._staff.start()
            scheme = "http" if self._front.certificate is None else "https"
            self._telemetry.log("listening", url=f"{scheme}://{host}:{port}", link=self._peer.address)
            try:
                _Server(self._configuration(), self._begin_drain, self._staff.reload).run(sockets=[listening])
            finally:
                self._stop.set()
                self._staff.end()
                if reception is not None:
                    reception.join(timeout=1)
        self._telemetry.log("ended")

    def _start_reception(self) -> threading.Thread | None:
        """Party 1: let party 0's daemon come."""
        if self._party == 0:
            return None
        serve = Answering(self._catalogue, self._telemetry).serve
        reception = Reception(self._peer, self._identity, MOST_CONNECTIONS, serve, self._stop, self._telemetry)
        thread = threading.Thread(target=reception.run, daemon=True)
        thread.start()
        return thread

    def _tasks(self, model: Model) -> list[Callable[[], None]]:
        tasks = self._dialling.tasks(model) if self._party == 0 else []
        return tasks if self._dealer is None else [*tasks, self._dealer.task(model)]

    def _begin_drain(self) -> None:
        if not self._desk.draining:
            self._telemetry.log("draining")
        self._desk.draining = True

    def _configuration(self) -> uvicorn.Config:
        return uvicorn.Config(
            web_application(self._desk),
            http=ClientConnection,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=MOST_CLIENTS,
            timeout_keep_alive=IDLE_CLIENT_S,
            timeout_graceful_shutdown=DRAIN_S,
            ssl_certfile=self._front.certificate,
            ssl_keyfile=self._front.key,
        )


class _Server(uvicorn.Server):
    """uvicorn, but a signal first stops new requests, and does not end the process a second time afterwards."""

    def __init__(self, configuration: uvicorn.Config, drain: Callable[[], None], reload: Callable[[], None]) -> None:
        super().__init__(configuration)
        self._drain, self._reload = drain, reload

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with heard({signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: self._read_anew}):
            yield

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._drain()
        self.handle_exit(number, frame)

    def _read_anew(self, number: int, frame: FrameType | None) -> None:
        self._reload()
