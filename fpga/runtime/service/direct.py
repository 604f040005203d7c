"""Party 1's daemon alone, for clients that are party 0 themselves: many sessions, one after another and at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from rrnet_nni.base.errors import Refusal

from ..link.tls import TlsIdentity
from ..session.quota import Quota
from .models.catalogue import Catalogue
from .peers.direct_clients import DirectClients
from .peers.peer import Peer
from .peers.reception import Reception
from .signals import heard
from .staff import DRAIN_S, Staff
from .telemetry import Telemetry


def serve_clients(
    catalogue: Catalogue,
    peer: Peer,
    load_identity: Callable[[], TlsIdentity | None],
    reveal: str | None,
    sessions: int,
    quota_of: Callable[[bytes], Quota] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let sessions finish; at SIGHUP read models and certificates anew.

    Args:
        catalogue: the models.
        peer: where clients come.
        load_identity: reads this server's key and its clients' certificates; None for clients of this machine.
        reveal: how much of the logits is opened to clients (`output_policy`); None opens what each build computes.
        sessions: how many run at once.
        quota_of: what the holder of a certificate may use; None bounds nothing.

    Raises:
        Refusal: the keys are not there.
        ExecutionFault: the address cannot be listened on.
    """
    stop, telemetry, identity = threading.Event(), Telemetry(1), load_identity()
    clients = DirectClients(catalogue, identity, reveal, sessions, telemetry, quota_of)
    reception = Reception(peer, identity, sessions, clients.serve, stop, telemetry)
    staff = Staff(catalogue, lambda model: [], telemetry)
    staff.start()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    def read_anew(number: int, frame: FrameType | None) -> None:
        staff.reload()
        try:
            clients.identity = load_identity()
            reception.expect(clients.identity)
        except Refusal as refusal:
            telemetry.log("certificates not reloaded", reason=str(refusal))

    with heard({signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: read_anew}):
        material = {name: model.pool.left() for name, model in catalogue.items()}
        telemetry.log("listening", link=peer.address, material=material)
        sys.stdout.write(f"waiting for clients on {peer.address}\n")
        sys.stdout.flush()
        reception.run()
        reception.finish(DRAIN_S)
    staff.end()
    telemetry.log("ended")
