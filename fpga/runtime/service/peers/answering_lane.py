"""Party 1's end of a lane: it follows party 0's proposals as far as it holds the same requests and material."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...link.frames import LinkFault
from ...link.link import Link
from ..models.halves import Half, Interrupted
from ..models.model import Model
from ..telemetry import Telemetry
from .dialogue import UNKNOWN_SET, field_of, hear, tell
from .open_set import OpenSet, common_start

#: How long a batch waits for halves that party 0 has and this server has not yet.
PARTNER_WAIT_S = 0.01


class AnsweringLane:
    """One connection of party 0's daemon, whose introduction was heard and is not answered yet."""

    def __init__(self, model: Model, link: Link, telemetry: Telemetry) -> None:
        self._model, self._link, self._telemetry = model, link, telemetry
        self._opened: OpenSet | None = None

    def run(self) -> None:
        """Serve until the model has ended.

        Raises:
            LinkFault, Refusal, ExecutionFault: the lane cannot go on.
        """
        tell(self._link, {"ok": True})
        with self._model.lanes.one_more():
            self._telemetry.log("lane up", model=self._model.name)
            try:
                while not self._model.ended.is_set():
                    self._answer(hear(self._link))
            finally:
                self._close()

    def _answer(self, question: dict[str, Any]) -> None:
        match question.get("do"):
            case "rest":
                tell(self._link, {})
            case "open":
                self._open(field_of(question, "set", str), field_of(question, "next", int))
            case "batch":
                self._execute(field_of(question, "start", int), _requests(question))
            case other:
                raise LinkFault(f"party 0 asks for {other!r}, which this release does not know")

    def _open(self, set_id: str, their_next: int) -> None:
        self._close()
        pool = self._model.pool
        if all(each.description.set_id != set_id for each in pool.sets()):
            tell(self._link, {"refused": UNKNOWN_SET})
            return
        try:
            store = pool.open(set_id)
        except Refusal as refusal:
            tell(self._link, {"refused": str(refusal)})
            return
        with contextlib.ExitStack() as unless_opened:
            unless_opened.callback(pool.close, store)
            mine = store.next_index
            start = common_start(mine, their_next, store.description.count)
            tell(self._link, {"next": mine})
            if start is not None:
                self._opened = OpenSet(self._model, self._link, store, start)
                unless_opened.pop_all()

    def _execute(self, start: int, requests: Sequence[tuple[str, int]]) -> None:
        opened = self._opened
        if opened is None or start != opened.position:
            raise LinkFault("party 0 proposes a batch from another place of the material")
        if sum(images for _, images in requests) > opened.claim_ahead():
            raise LinkFault("party 0 proposes more images than a batch has")
        batch = self._matching(dict(requests))
        try:
            tell(self._link, {"taken": [half.request_id for half in batch]})
            if not batch:
                return
            with self._telemetry.execution(self._model.name, sum(half.images for half in batch), self._link):
                answers = opened.execute(batch)
        except (LinkFault, ExecutionFault, Refusal):
            self._model.halves.finish(batch, Interrupted("the other server failed meanwhile"))
            raise
        self._model.halves.finish(batch, answers)
        opened.discard_used()
        if not opened.left:
            self._close()

    def _matching(self, proposed: Mapping[str, int]) -> list[Half]:
        """The halves of proposed requests that are here and have as many images; the others are told."""
        here = self._model.halves.claim(list(proposed), PARTNER_WAIT_S)
        odd = [half for half in here if half.images != proposed[half.request_id]]
        self._model.halves.finish(odd, Interrupted("the two halves of this request have different numbers of images"))
        return [half for half in here if half not in odd]

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _requests(question: dict[str, Any]) -> list[tuple[str, int]]:
    """The proposed requests and how many images each has."""
    requests = []
    for each in field_of(question, "requests", list):
        match each:
            case [str(name), int(images)] if images > 0:
                requests.append((name, images))
            case _:
                raise LinkFault("party 0 proposes a batch that cannot be read")
    return requests
