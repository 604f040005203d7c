"""Tasks that run ahead: each behind what it reads, each with its own answers, rounds counted once."""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.protocols.lanes import LaneChannel
from rrnet_nni.fpga.protocols.wavefront import Task, TaskGraph


class Echo:
    """Answers in order with what was sent, every octet one larger."""

    def __init__(self) -> None:
        self.rounds, self.under_way = 0, deque[np.ndarray]()
        self.most_under_way = 0

    def begin(self, outgoing: np.ndarray | None, incoming_bytes: int, rounds: int) -> None:
        assert outgoing is not None
        assert incoming_bytes == outgoing.nbytes
        self.rounds += rounds
        self.under_way.append(outgoing.view(np.uint8) + np.uint8(1))
        self.most_under_way = max(self.most_under_way, len(self.under_way))

    def finish(self) -> np.ndarray:
        return self.under_way.popleft()


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[frozenset[int], int, bool]]:
    """What every task needs, how often it exchanges, and whether it counts."""
    graph = []
    for place in range(draw(st.integers(1, 12))):
        needs = draw(st.frozensets(st.integers(0, place - 1), max_size=3)) if place else frozenset()
        graph.append((needs, draw(st.integers(0, 3)), draw(st.booleans())))
    return graph


@given(graphs())
def test_every_task_runs_behind_what_it_needs_and_hears_its_own_answers(
    graph: list[tuple[frozenset[int], int, bool]],
) -> None:
    channel, echo, ended, measured = LaneChannel(), Echo(), list[int](), set[str]()

    def run(place: int, work: object) -> None:
        assert work == "this walk's"
        needs, exchanges, _ = graph[place]
        assert needs <= set(ended)
        for turn in range(exchanges):
            sent = np.full(turn + 1, place, np.uint32)
            np.testing.assert_array_equal(channel.exchange(sent, sent.nbytes), sent.view(np.uint8) + np.uint8(1))
        ended.append(place)

    def observe(name: str) -> nullcontext[None]:
        measured.add(name)
        return nullcontext()

    tasks = [Task(str(place), needs, partial(run, place), counts) for place, (needs, _, counts) in enumerate(graph)]
    prepared = TaskGraph(tasks)
    prepared.walk("this walk's", Echo(), observe)
    ended.clear()
    prepared.walk("this walk's", echo, observe)  # as good as the first one
    assert sorted(ended) == list(range(len(graph)))
    assert measured == {task.name for task in tasks}
    assert echo.rounds == sum(exchanges for _, exchanges, counts in graph if counts)


def test_what_can_be_sent_is_under_way_before_an_answer_is_waited_for() -> None:
    channel, echo = LaneChannel(), Echo()
    tasks = [Task("a", frozenset(), lambda work: channel.exchange(np.zeros(1, np.uint8), 1)) for _ in range(5)]
    TaskGraph(tasks).walk(None, echo, lambda name: nullcontext())
    assert echo.most_under_way == 5


def test_what_a_task_makes_ready_is_sent_before_others_that_were_ready_are_computed() -> None:
    order = list[int]()
    needs = frozenset[int](), frozenset[int](), frozenset({0}), frozenset({0}), frozenset({2})
    tasks = [Task("a", each, lambda work, place=place: order.append(place)) for place, each in enumerate(needs)]  # type: ignore[misc]
    TaskGraph(tasks).walk(None, Echo(), lambda name: nullcontext())
    assert order == [0, 2, 4, 3, 1]


def test_a_task_that_fails_ends_the_walk() -> None:
    def fails(work: object) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        TaskGraph([Task("a", frozenset(), fails)]).walk(None, Echo(), lambda name: nullcontext())
