"""What party 0's daemon keeps going for each of its models: lanes to party 1's, and a pool that is never empty."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..models.model import Model
from ..telemetry import Telemetry
from .asking_lane import AskingLane
from .filling import Marks, fill_once
from .peer import Peer, converse, converse_for


class Dialling:
    """Party 0's threads.

    Args:
        peer: party 1's daemon.
        lanes: executions in flight per model.
        window_s: how long a request waits for others to share its execution.
        marks: when material is made; None makes none.
        telemetry: hears of every execution and fault.
    """

    def __init__(self, peer: Peer, lanes: int, window_s: float, marks: Marks | None, telemetry: Telemetry) -> None:
        self._peer, self._lanes, self._window_s, self._marks = peer, lanes, window_s, marks
        self._telemetry = telemetry

    def tasks(self, model: Model) -> list[Callable[[], None]]:
        """What to run for a model, each in a thread, until the model has ended."""
        lane = partial(converse_for, model, partial(self._lane, model), "lane down", self._telemetry)
        tasks: list[Callable[[], None]] = [lane] * self._lanes
        if self._marks is not None:
            fill = partial(fill_once, model, self._peer, self._marks.for_one_pool(), self._telemetry)
            tasks.append(partial(converse_for, model, fill, "no material made", self._telemetry))
        return tasks

    def _lane(self, model: Model) -> None:
        converse(self._peer, lambda link: AskingLane(model, link, self._window_s, self._telemetry).run())
