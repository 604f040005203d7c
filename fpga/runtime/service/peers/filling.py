"""Material ahead of demand: the two parties make sets in the background, each in a process of its own.

The processes are those of `rrnet-2pc-prepare`; they run at low priority and die with the daemon. A daemon carries their
messages to the other one over its own authenticated link.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from typing import Any

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.progress import Line

from ....protocols.shared.preparation import set_bits
from ...commands.children import start_child
from ...link.link import Link
from ...material.party_set import TWO_PARTY
from ..models.model import Model
from ..models.pool import MADE_PREFIX
from ..telemetry import Telemetry
from .carrying import carry
from .dialogue import FILL, ask, field_of, introduction, tell
from .peer import Peer, converse

#: Added to the niceness of the processes: requests go first.
NICENESS = 15
MOST_PER_SET = 1024
#: Made first where nothing is left: requests wait for it, so it has their priority.
FIRST_COUNT = 4
LOOK_AGAIN_S = 0.5


class Marks:
    """When party 0 asks for more: below `low` inferences until there are `high`, `per_set` at a time."""

    def __init__(self, low: int, high: int, per_set: int) -> None:
        if not 0 <= low <= high or not 1 <= per_set <= MOST_PER_SET:
            raise Refusal(f"marks must be 0 <= low <= high, and sets of 1 to {MOST_PER_SET}: {low}, {high}, {per_set}")
        self._low, self._high, self._per_set = low, high, per_set
        self._filling = False

    def for_one_pool(self) -> Marks:
        """The same marks, of a pool that has not run low yet."""
        return Marks(self._low, self._high, self._per_set)

    def wanted(self, left: int, batch: int = FIRST_COUNT) -> int:
        """How many inferences to make now; the first few, of a batch at most, come quickly."""
        if left >= self._high:
            self._filling = False
        elif left < self._low:
            self._filling = True
        if not self._filling:
            return 0
        return min(self._per_set, self._high - left) if left else min(self._per_set, batch, FIRST_COUNT)


def fill_once(model: Model, peer: Peer, marks: Marks, telemetry: Telemetry) -> None:
    """Party 0: wait until material runs low and make one set.

    Raises:
        ExecutionFault, Refusal: it was not made.
    """
    while not (count := marks.wanted(model.pool.left(), model.batch)):
        if model.ended.wait(LOOK_AGAIN_S):
            return
    name = MADE_PREFIX + secrets.token_hex(8)
    held = [each.description.set_id for each in model.pool.sets()]

    def ask_and_make(link: Link) -> None:
        ask(link, {**introduction(FILL, model.name, model.terms), "name": name, "count": count, "sets": held})
        _make(model, link, name, count, telemetry)

    converse(peer, ask_and_make)


def answer_fill(model: Model, link: Link, question: dict[str, Any], telemetry: Telemetry) -> None:
    """Party 1: make the set that party 0 asks for; what party 0 has no part of goes."""
    name, count = field_of(question, "name", str), field_of(question, "count", int)
    held = field_of(question, "sets", list)
    token = name.removeprefix(MADE_PREFIX)
    if not name.startswith(MADE_PREFIX) or not token.isalnum() or not 1 <= count <= MOST_PER_SET:
        raise Refusal("party 0 asks for a set whose name or size is not valid")
    for each in model.pool.sets():
        if each.description.set_id not in held:
            model.pool.discard(each.description.set_id)
    tell(link, {"ok": True})
    _make(model, link, name, count, telemetry)


def _make(model: Model, link: Link, name: str, count: int, telemetry: Telemetry) -> None:
    """Run this party's process until its part of the set is in place."""
    started = time.monotonic()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = [
            *(str(model.build.path), "--count", str(count), "--preprocessing", TWO_PARTY),
            *("--protocol", model.execution.name, "-o", str(model.pool.root / name)),
            *("--party", str(model.party), "--link-fd", str(theirs.fileno()), "--json"),
        ]
        child = start_child(f"party {model.party}", "prepare", arguments, Line(), (theirs.fileno(),))
        if count > FIRST_COUNT:
            os.setpriority(os.PRIO_PROCESS, child.process.pid, NICENESS)
        theirs.close()
        try:
            carry(link.hand_over(), ours, model.ended)
            ours.close()
            child.process.wait(timeout=30)
        except subprocess.TimeoutExpired as error:
            raise ExecutionFault("the process that makes material does not end") from error
        finally:
            child.end()
    if child.process.returncode:
        raise ExecutionFault(f"no material was made: {child.sentence}")
    model.pool.changed()
    (_, bits), seconds = set_bits(model.build.program, count), round(time.monotonic() - started, 3)
    telemetry.log("material made", model=model.name, count=count, seconds=seconds, statistical_bits=bits)
