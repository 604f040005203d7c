"""Clients that are party 0 themselves: a connection is one session of `rrnet-2pc-run`, or makes a set for later ones.

A client names the set that it uses; the other part of it lies in this server's pool. Sets are bound to the certificate
of the client that used or made them first.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from rrnet_nni.base.errors import Refusal

from ....protocols.shared.preparation import set_bits
from ...commands.answer import BATCH_BYTES
from ...link.link import Link
from ...link.tls import TlsIdentity
from ...session.agreement import PREPARATION_KEY, Terms, read_hello
from ...session.quota import Quota
from ...session.session import Party
from ...session.two_party_prepare import Preparer
from ..models.model import Model
from ..models.pool import MADE_PREFIX
from ..telemetry import Telemetry
from .dialogue import field_of
from .filling import MOST_PER_SET, NICENESS


class DirectClients:
    """Answers connections of clients.

    Args:
        models: by name; clients find theirs by the program that both have.
        identity: this server's key and its clients' certificates; None for clients of this machine.
        reveal: how much of the logits is opened to clients (`output_policy`); None opens what each build computes.
        quota_of: what the holder of a certificate may use; None bounds nothing.
        sessions: how many run at once, so that their memory is bounded together.
        telemetry: hears of every session.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        identity: TlsIdentity | None,
        reveal: str | None,
        sessions: int,
        telemetry: Telemetry,
        quota_of: Callable[[bytes], Quota] | None = None,
    ) -> None:
        self._models, self.identity, self._reveal, self._telemetry = models, identity, reveal, telemetry
        self._quota_of = quota_of
        self._most_bytes = BATCH_BYTES // sessions

    def serve(self, link: Link, certificate: bytes | None) -> None:
        """One session with a client, or one preparation.

        Raises:
            Refusal, ExecutionFault: the client wants what this server does not give, or is gone.
        """
        hello = read_hello(link.hear_ahead())
        digest = field_of(hello, "program", str)
        model = next((each for each in self._models.values() if each.build.program_digest == digest), None)
        if model is None:
            raise Refusal("this server has no model of the client's program (another build?)")
        name, pair = "", None
        if (identity := self.identity) is not None and certificate is not None:
            name, pair = identity.peers.get(certificate, ""), identity.pair_with(certificate)
        if PREPARATION_KEY in hello:
            self._prepare(model, field_of(hello, "count", int), link, name, pair)
        else:
            quota = self._quota_of(certificate) if self._quota_of is not None and certificate is not None else None
            self._run(model, hello, link, name, pair, quota)

    def _run(
        self, model: Model, hello: Mapping[str, Any], link: Link, name: str, pair: str | None, quota: Quota | None
    ) -> None:
        images, batch = field_of(hello, "images", int), field_of(hello, "batch", int)
        most = max(1, self._most_bytes // max(1, model.execution.bytes_per_image(model.build.program)))
        if not 1 <= min(images, batch) <= most:
            raise Refusal(f"this server evaluates 1 to {most} images at once: --batch {most}")
        reveal = self._reveal or model.build.program.reveals
        terms = Terms(model.build.program_digest, model.execution.name, 0, None, batch, reveal)
        store = model.pool.open(field_of(hello, "material", str), pair)
        started = time.monotonic()
        try:
            party = Party(1, model.build.program, model.execution, link, store, quota=quota)
            party.run(terms, weights=model.build.weights)
        finally:
            left = store.description.count - store.next_index
            model.pool.close(store, used_up=left < 1)
            seconds = round(time.monotonic() - started, 3)
            # said also where a session failed: its material is used up all the same
            self._log("session", model, name, images=images, seconds=seconds, set_left=left)

    def _prepare(self, model: Model, count: int, link: Link, name: str, pair: str | None) -> None:
        if not 1 <= count <= MOST_PER_SET:
            raise Refusal(f"this server makes sets of 1 to {MOST_PER_SET} images")
        program, started = model.build.program, time.monotonic()
        root = model.pool.root / f"{MADE_PREFIX}{secrets.token_hex(8)}"
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # of this thread, which ends with the link
        Preparer(1, program, model.build.program_digest, model.execution, link).run(root, count, pair)
        model.pool.changed()
        seconds, (_, bits) = round(time.monotonic() - started, 3), set_bits(program, count)
        self._log("material made", model, name, count=count, seconds=seconds, statistical_bits=bits)

    def _log(self, event: str, model: Model, name: str, **fields: object) -> None:
        client = {"client": name} if name else {}
        self._telemetry.log(event, model=model.name, **client, **fields, material=model.pool.left())
