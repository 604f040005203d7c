"""Party 0's end of a lane: it opens sets, proposes batches and executes what party 1 holds too."""

from __future__ import annotations

import contextlib

from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...link.frames import LinkFault
from ...link.link import Link
from ..models.halves import Half, Interrupted
from ..models.model import Model
from ..telemetry import Telemetry
from .dialogue import LANE, UNKNOWN_SET, ask, field_of, introduction
from .open_set import OpenSet, common_start

#: How often an idle lane says that it is there, and looks for material.
REST_S = 1.0


class AskingLane:
    """One connection's executions, one after the other; several lanes of a model run side by side.

    Args:
        model: whose requests are executed.
        link: to party 1's daemon.
        window_s: how long a request waits for others to share its execution.
        telemetry: hears of every execution.
    """

    def __init__(self, model: Model, link: Link, window_s: float, telemetry: Telemetry) -> None:
        self._model, self._link, self._window_s, self._telemetry = model, link, window_s, telemetry

    def run(self) -> None:
        """Serve until the model has ended.

        Raises:
            LinkFault, Refusal, ExecutionFault: the lane cannot go on.
        """
        ask(self._link, introduction(LANE, self._model.name, self._model.terms))
        with self._model.lanes.one_more():
            self._telemetry.log("lane up", model=self._model.name)
            while not self._model.ended.is_set():
                opened = self._open_next()
                if opened is None:
                    ask(self._link, {"do": "rest"})
                    self._model.ended.wait(REST_S)
                    continue
                try:
                    self._use(opened)
                finally:
                    opened.close()

    def _open_next(self) -> OpenSet | None:
        """The oldest set that both parties have and nobody uses, set up; None while there is none."""
        pool = self._model.pool
        for each in pool.sets():
            set_id = each.description.set_id
            try:
                store = pool.open(set_id)
            except Refusal:  # another lane's
                continue
            with contextlib.ExitStack() as unless_opened:
                unless_opened.callback(pool.close, store)
                mine = store.next_index
                answer = ask(self._link, {"do": "open", "set": set_id, "next": mine})
                theirs = field_of(answer, "next", int) if "next" in answer else None
                start = None if theirs is None else common_start(mine, theirs, each.description.count)
                if start is not None:
                    opened = OpenSet(self._model, self._link, store, start)
                    unless_opened.pop_all()
                    return opened
            pool.set_aside(set_id)
            if answer.get("refused") == UNKNOWN_SET:
                pool.discard(set_id)
        return None

    def _use(self, opened: OpenSet) -> None:
        """Execute batches until the set is used up."""
        while not self._model.ended.is_set() and (most := opened.claim_ahead()):
            halves = self._model.halves.take(most, self._window_s, REST_S)
            if not halves:
                ask(self._link, {"do": "rest"})
                continue
            waiting = {half.request_id: half for half in halves}
            try:
                self._execute(opened, waiting)
            except (LinkFault, ExecutionFault, Refusal) as error:
                self._model.halves.finish(list(waiting.values()), Interrupted("the other server failed meanwhile"))
                raise error

    def _execute(self, opened: OpenSet, waiting: dict[str, Half]) -> None:
        """Propose some halves and execute those that party 1 has; leaves in `waiting` what has no answer yet."""
        proposed = [[half.request_id, half.images] for half in waiting.values()]
        answer = ask(self._link, {"do": "batch", "start": opened.position, "requests": proposed})
        taken = field_of(answer, "taken", list)
        if any(name not in waiting for name in map(str, taken)):
            raise LinkFault("the other server took requests that were not proposed")
        absent = [half for name, half in waiting.items() if name not in taken]
        self._model.halves.put_back(absent)
        for half in absent:
            del waiting[half.request_id]
        if not waiting:
            return
        batch = list(waiting.values())
        with self._telemetry.execution(self._model.name, sum(half.images for half in batch), self._link):
            answers = opened.execute(batch)
        waiting.clear()
        self._model.halves.finish(batch, answers)
        opened.discard_used()
