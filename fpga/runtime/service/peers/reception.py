"""Party 1's listening socket: every connection of party 0's daemon says what it is for and is served in a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...link.addresses import listen
from ...link.frames import LinkFault
from ...link.link import Link
from ...link.tls import secure
from ..models.model import Model
from ..telemetry import Telemetry
from .answering_lane import AnsweringLane
from .dialogue import FILL, LANE, check_alike, field_of, hear, versions
from .filling import answer_fill
from .peer import GREETING_S, Peer

#: Connections that may be greeted or served at a time.
MOST_CONNECTIONS = 128


class Reception:
    """Party 1's listening socket; every connection gets a thread.

    Raises:
        ExecutionFault: the address cannot be listened on.
    """

    def __init__(self, peer: Peer, models: Mapping[str, Model], stop: threading.Event, telemetry: Telemetry) -> None:
        self._peer, self._models, self._stop, self._telemetry = peer, models, stop, telemetry
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._socket = listen(peer.address, MOST_CONNECTIONS)
        self._socket.settimeout(0.5)

    def run(self) -> None:
        """Accept until `stop` is set."""
        with self._socket:
            while not self._stop.is_set():
                try:
                    connection, _ = self._socket.accept()
                except OSError:  # nobody came, or the one who did has left
                    continue
                if not self._places.acquire(blocking=False):
                    connection.close()
                    continue
                threading.Thread(target=self._greet, args=(connection,), daemon=True).start()

    def _greet(self, connection: socket.socket) -> None:
        try:
            if self._peer.tls is not None:
                connection = secure(connection, self._peer.tls, True, GREETING_S)
            with self._peer.link(connection, "party 0's server") as link:
                try:
                    self._serve(link)
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

    def _serve(self, link: Link) -> None:
        question = hear(link)
        name = field_of(question, "model", str)
        model = self._models.get(name)
        if model is None:
            raise Refusal(f"party 1's server has no model {name!r}")
        check_alike({**versions(), **model.terms}, question)
        match question.get("purpose"):
            case purpose if purpose == LANE:
                AnsweringLane(model, link, self._stop, self._telemetry).run()
            case purpose if purpose == FILL:
                answer_fill(model, link, question, self._stop, self._telemetry)
            case other:
                raise LinkFault(f"party 0's server connects for {other!r}, which this release does not know")
