"""Tasks that exchange with the other party, each as far ahead as its inputs allow: one waits while others go on.

Both parties have the same tasks and go through them in the same order, which no clock decides: what a task sends is on
its way before the next one runs, and answers come in the order in which they were begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from greenlet import greenlet

from .party import AheadChannel, Observer


@dataclass(frozen=True)
class Task:
    """A step that exchanges over a `LaneChannel`.

    Attributes:
        name: under which it is measured.
        needs: the places of the tasks, all before this one, that must have ended.
        run: does it.
        counts: whether its exchanges count as rounds; they do not where they are further parts of other ones'.
    """

    name: str
    needs: frozenset[int]
    run: Callable[[], None]
    counts: bool = True


def run_tasks(tasks: Sequence[Task], channel: AheadChannel, observe: Observer) -> None:
    """Run all tasks: what can go on goes on, in order, before an answer is waited for."""
    open_needs = [len(task.needs) for task in tasks]
    readers: list[list[int]] = [[] for _ in tasks]
    for place, task in enumerate(tasks):
        for need in task.needs:
            readers[need].append(place)
    ready = deque(place for place, count in enumerate(open_needs) if not count)
    waiting: deque[tuple[int, greenlet]] = deque()
    while ready or waiting:
        place, lane = (ready.popleft(), None) if ready else waiting.popleft()
        task = tasks[place]
        with observe(task.name):
            if lane is None:
                lane = greenlet(task.run)
                request = lane.switch()
            else:
                request = lane.switch(channel.finish())
            if not lane.dead:
                outgoing, incoming_bytes = request
                channel.begin(outgoing, incoming_bytes, int(task.counts))
                waiting.append((place, lane))
        if lane.dead:
            for reader in readers[place]:
                open_needs[reader] -= 1
                if not open_needs[reader]:
                    ready.append(reader)
