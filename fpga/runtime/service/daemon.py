"""One party's daemon: its lanes and its filling of pools in threads, its HTTP side in the main one."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from ..link.addresses import listen
from .models.model import Model
from .peers.answering import MOST_CONNECTIONS, Answering
from .peers.asking_lane import AskingLane
from .peers.filling import Marks, fill_once
from .peers.peer import Peer, converse, keep_conversing
from .peers.reception import Reception
from .telemetry import Telemetry
from .web.application import Desk, web_application
from .web.limits import RateLimit

#: Connections of clients at a time; more are answered by 503 without a look at them.
MOST_CLIENTS = 1000
#: Clients that may have connected before they are looked at.
CONNECTIONS_AHEAD = 1024
IDLE_CLIENT_S = 30
#: What requests get to finish once the daemon is asked to end.
DRAIN_S = 30
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
    """What an operator may choose: `lanes` are executions in flight per model; without `marks` no pool is filled."""

    window_s: float = 0.004
    lanes: int = 2
    expiry_s: float = 10.0
    per_second: float = 0.0
    marks: tuple[int, int, int] | None = None
    servers: tuple[str, ...] = ()


class Daemon:
    """One party's server.

    Args:
        party: 0 or 1.
        models: by name.
        peer: the other party's server; at party 1 the address to listen on.
        front: where clients come.
        settings: what the operator chose.
    """

    def __init__(self, party: int, models: Mapping[str, Model], peer: Peer, front: Front, settings: Settings) -> None:
        self._party, self._models, self._peer, self._front, self._settings = party, models, peer, front, settings
        self._stop = threading.Event()
        self._telemetry = Telemetry(party)
        for model in models.values():
            self._telemetry.watch(model.name, model.pool.left, partial(_images_of, model))
        rate = RateLimit(settings.per_second)
        self._desk = Desk(models, self._telemetry, rate, settings.expiry_s, settings.servers, party=party)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then finish what has begun.

        Raises:
            ExecutionFault: an address cannot be listened on.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        with listen(self._front.address, CONNECTIONS_AHEAD) as listening:
            host, port = listening.getsockname()[:2]
            threads = [threading.Thread(target=each, daemon=True) for each in self._background()]
            for thread in threads:
                thread.start()
            scheme = "http" if self._front.certificate is None else "https"
            self._telemetry.log("listening", url=f"{scheme}://{host}:{port}", link=self._peer.address)
            try:
                _Server(self._configuration(), self._begin_drain).run(sockets=[listening])
            finally:
                self._stop.set()
                for thread in threads:
                    thread.join(timeout=3)
        self._telemetry.log("ended")

    def _background(self) -> list[Callable[[], None]]:
        if self._party == 1:
            answering = Answering(self._models, self._stop, self._telemetry)
            return [
                Reception(
                    self._peer, "party 0's server", MOST_CONNECTIONS, answering.serve, self._stop, self._telemetry
                ).run
            ]
        tasks: list[Callable[[], None]] = []
        for model in self._models.values():
            lane = partial(self._run_lane, model)
            tasks += [partial(self._keep, lane, model.name, "lane down")] * self._settings.lanes
            if self._settings.marks is not None:
                fill = partial(fill_once, model, self._peer, Marks(*self._settings.marks), self._stop, self._telemetry)
                tasks.append(partial(self._keep, fill, model.name, "no material made"))
        return tasks

    def _run_lane(self, model: Model) -> None:
        lane = partial(AskingLane, model, window_s=self._settings.window_s, stop=self._stop, telemetry=self._telemetry)
        converse(self._peer, lambda link: lane(link=link).run())

    def _keep(self, converse_once: partial[None], model: str, event: str) -> None:
        def complain(reason: str) -> None:
            if not self._stop.is_set():
                self._telemetry.faults.labels(model).inc()
                self._telemetry.log(event, model=model, reason=reason)

        keep_conversing(converse_once, self._stop, complain)

    def _begin_drain(self) -> None:
        if not self._desk.draining:
            self._telemetry.log("draining")
        self._desk.draining = True

    def _configuration(self) -> uvicorn.Config:
        return uvicorn.Config(
            web_application(self._desk),
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

    def __init__(self, configuration: uvicorn.Config, drain: Callable[[], None]) -> None:
        super().__init__(configuration)
        self._drain = drain

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._drain()
        self.handle_exit(number, frame)


def _images_of(model: Model) -> int:
    return model.halves.images
