"""Rounds that several lanes of operations take together: every message of a round goes out in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from greenlet import getcurrent, greenlet

#: What a lane sends, and how many octets it waits for.
_Request: TypeAlias = tuple[np.ndarray | None, int]


class LaneChannel:
    """What a lane sees of the channel: an exchange waits until every lane that is not done has one."""

    def exchange(self, outgoing: np.ndarray | None, incoming_bytes: int) -> np.ndarray:
        """One round: as `Channel.exchange`."""
        answer: np.ndarray = getcurrent().parent.switch((outgoing, incoming_bytes))
        return answer


def run_together(exchange: Callable[[np.ndarray | None, int], np.ndarray], lanes: Sequence[Callable[[], None]]) -> None:
    """Run lanes that exchange over a `LaneChannel`, round by round, their messages one behind the other.

    `exchange` is that of the channel to the other party.
    """
    waiting = _go_on([(greenlet(lane), ()) for lane in lanes])
    while waiting:
        sent = [_octets(outgoing) for _, (outgoing, _) in waiting if outgoing is not None]
        counts = [count for _, (_, count) in waiting]
        received = exchange(np.concatenate(sent) if sent else None, sum(counts))
        parts = np.split(received, np.cumsum(counts)[:-1])
        # what a lane receives is its own to change, and begins where words may begin
        waiting = _go_on([(lane, (part.copy(),)) for (lane, _), part in zip(waiting, parts, strict=True)])


def _go_on(lanes: Sequence[tuple[greenlet, tuple[np.ndarray, ...]]]) -> list[tuple[greenlet, _Request]]:
    """Let every lane run until it exchanges again; those that have not ended, with what they ask for."""
    requests = [(lane, lane.switch(*answer)) for lane, answer in lanes]
    return [(lane, request) for lane, request in requests if not lane.dead]


def _octets(words: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(words).reshape(-1).view(np.uint8)
