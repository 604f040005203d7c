"""The dealer's side: one worker per model holds a connection to each party and keeps both pools between the marks."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ....program.build import Build
from ....protocols.party import Execution
from ...link.frames import LinkFault
from ...link.link import Link
from ...link.tls import TlsIdentity
from ...material.dealer import prepare_set
from ...material.party_set import party_directory
from ...material.scratch import temporary_directory
from ..models.pool import MADE_PREFIX
from ..telemetry import Telemetry
from .dialogue import DEAL, ask, check_alike, field_of, hear, tell, versions
from .filling import Marks
from .set_transfer import put_in_place, send_part

LOOK_AGAIN_S = 0.5
#: Parties that wait for something are told so often that the dealer is there.
REST_S = 5.0


@dataclass(frozen=True)
class Dealt:
    """A model for which the dealer makes sets; it needs the public program alone."""

    name: str
    build: Build
    execution: Execution


@dataclass(eq=False)
class Line:
    """A party's connection, held until `over`."""

    party: int
    link: Link
    over: threading.Event = field(default_factory=threading.Event)
    asked_s: float = field(default_factory=time.monotonic)

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        self.asked_s = time.monotonic()
        return ask(self.link, question)

    def rest(self) -> None:
        """Say that the dealer is there, if nothing was said for a while."""
        if time.monotonic() > self.asked_s + REST_S:
            self.ask({"do": "rest"})


class Dealing:
    """The worker of one model.

    Args:
        model: what sets are for.
        marks: when they are made.
        stop: ends the work.
        telemetry: hears of every set.
    """

    def __init__(self, model: Dealt, marks: Marks, stop: threading.Event, telemetry: Telemetry) -> None:
        self.model = model
        self._marks, self._stop, self._telemetry = marks, stop, telemetry
        self._lines: dict[int, Line] = {}
        self._replaced: list[Line] = []
        self._lock, self._ended = threading.Lock(), threading.Event()

    def hold(self, party: int, link: Link) -> None:
        """Use a party's connection until it breaks; a newer one of the same party takes its place."""
        line = Line(party, link)
        with self._lock:
            if party in self._lines:
                self._replaced.append(self._lines[party])
            self._lines[party] = line
        self._telemetry.log("party up", model=self.model.name, of=party)
        while not line.over.wait(LOOK_AGAIN_S) and not self._ended.is_set():
            continue

    def run(self) -> None:
        """Work until `stop` is set."""
        while not self._stop.wait(LOOK_AGAIN_S):
            with self._lock:
                lines, replaced, self._replaced = dict(self._lines), self._replaced, []
            for line in replaced:  # here alone, where none is in use
                line.over.set()
            try:
                if len(lines) == 2:
                    self._look(lines[0], lines[1])
                for line in lines.values():
                    line.rest()
            except (Refusal, ExecutionFault) as error:
                self._telemetry.log("no material dealt", model=self.model.name, reason=str(error))
                self._drop(lines)
        self._ended.set()

    def _drop(self, lines: Mapping[int, Line]) -> None:
        """End both connections: where the fault lies is not certain, and the parties dial again."""
        with self._lock:
            self._lines = {party: line for party, line in self._lines.items() if lines.get(party) is not line}
        for line in lines.values():
            line.link.abort("the dealer starts anew")
            line.over.set()

    def _look(self, zero: Line, one: Line) -> None:
        """Compare what both parties have, and deal when it runs low."""
        left = [field_of(line.ask({"do": "left"}), "left", dict) for line in (zero, one)]
        for line, mine, theirs in ((zero, left[0], left[1]), (one, left[1], left[0])):
            for set_id in mine.keys() - theirs.keys():
                line.ask({"do": "discard", "set": set_id})
        common = left[0].keys() & left[1].keys()
        if any(type(each[name]) is not int for each in left for name in common):
            raise LinkFault("a party's report of its material cannot be read")
        count = self._marks.wanted(sum(min(left[0][name], left[1][name]) for name in common))
        if count:
            self._deal(count, (zero, one))

    def _deal(self, count: int, lines: tuple[Line, Line]) -> None:
        """Make one set and hand each party its part; the dealer keeps nothing of it."""
        started, name = time.monotonic(), MADE_PREFIX + secrets.token_hex(8)
        with temporary_directory() as scratch:
            made = scratch / "set"
            self._make(made, count, lines)
            for line in reversed(lines):
                send_part(line.link, party_directory(made, line.party), name, lines[1 - line.party].rest)
                line.asked_s = time.monotonic()
            for line in lines:
                put_in_place(line.link, name)
        seconds = round(time.monotonic() - started, 3)
        self._telemetry.log("material dealt", model=self.model.name, count=count, seconds=seconds)

    def _make(self, made: Path, count: int, lines: tuple[Line, Line]) -> None:
        build, execution = self.model.build, self.model.execution

        def go_on(done: int, total: int) -> None:
            if self._stop.is_set():
                raise ExecutionFault("the dealer is being shut down")

        with ThreadPoolExecutor(1) as pool:
            making = pool.submit(
                prepare_set, made, build.program, build.program_digest, execution, count, progress=go_on
            )
            while not wait([making], REST_S / 2).done:
                for line in lines:
                    line.rest()
            making.result()


class DealingDesk:
    """Takes parties' connections to the workers of their models.

    Args:
        workers: by model's name.
        identity: the dealer's key, and the certificates of `party-0` and `party-1`; None on one machine.
    """

    def __init__(self, workers: Mapping[str, Dealing], identity: TlsIdentity | None) -> None:
        self._workers, self._identity = workers, identity

    def serve(self, link: Link, certificate: bytes | None) -> None:
        """Hold one connection.

        Raises:
            Refusal, ExecutionFault: it is not a party's of a model that is dealt for.
        """
        question = hear(link)
        worker = self._workers.get(field_of(question, "model", str))
        if worker is None:
            raise Refusal(f"the dealer has no model {question['model']!r}")
        party, model = field_of(question, "party", int), worker.model
        alike = {"purpose": DEAL, "program": model.build.program_digest, "protocol": model.execution.name}
        check_alike({**versions(), **alike}, question, "the dealer", "the party")
        if party not in (0, 1):
            raise Refusal(f"there is no party {party}")
        if self._identity is not None and certificate is not None:
            name = self._identity.peers.get(certificate)
            if name != f"party-{party}":
                raise Refusal(f"this is the certificate of {name}, not of party-{party}")
        tell(link, {"ok": True})
        worker.hold(party, link)
