"""Tasks that exchange with the other party, each as far ahead as its inputs allow: one waits while others go on.

Both parties have the same tasks and go through them in the same order, which no clock decides: what a task sends is on
its way before the next one runs, and answers come in the order in which they were begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from greenlet import greenlet

from .party import AheadChannel, Observer


@dataclass(frozen=True)
class Task:
    """A step that exchanges over a `LaneChannel`.

    Attributes:
        name: under which it is measured.
        needs: the places of the tasks, all before this one, that must have ended.
        run: does it, on what a walk through the tasks works on.
        counts: whether its exchanges count as rounds; they do not where they are further parts of other ones'.
    """

    name: str
    needs: frozenset[int]
    run: Callable[[Any], object]
    counts: bool = True


class TaskGraph:
    """Tasks and who waits for whom, made once for any number of walks."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        self._needs = [len(task.needs) for task in tasks]
        self._readers: list[list[int]] = [[] for _ in tasks]
        for place, task in enumerate(tasks):
            for need in task.needs:
                self._readers[need].append(place)

    def walk(self, work: Any, channel: AheadChannel, observe: Observer) -> None:
        """Run all tasks on `work`: what can go on goes on before an answer is waited for.

        What a task has made ready runs before what was ready already: so it is sent while that is computed.
        """
        open_needs = self._needs.copy()
        ready = deque(place for place, count in enumerate(open_needs) if not count)
        waiting: deque[tuple[int, greenlet]] = deque()
        while ready or waiting:
            place, lane = (ready.popleft(), None) if ready else waiting.popleft()
            task = self.tasks[place]
            with observe(task.name):
                if lane is None:
                    lane = greenlet(task.run)
                    request = lane.switch(work)
                else:
                    request = lane.switch(channel.finish())
                if not lane.dead:
                    outgoing, incoming_bytes = request
                    channel.begin(outgoing, incoming_bytes, int(task.counts))
                    waiting.append((place, lane))
            if lane.dead:
                for reader in reversed(self._readers[place]):
                    open_needs[reader] -= 1
                    if not open_needs[reader]:
                        ready.appendleft(reader)
