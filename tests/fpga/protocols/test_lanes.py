"""Lanes that take their rounds together: every message arrives at the lane that waits for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.protocols.lanes import LaneChannel, run_together


class Echo:
    """Answers with what was sent, every octet one larger."""

    def __init__(self) -> None:
        self.rounds = 0

    def exchange(self, outgoing: np.ndarray | None, incoming_bytes: int) -> np.ndarray:
        self.rounds += 1
        assert outgoing is not None
        assert incoming_bytes == outgoing.nbytes
        return outgoing + np.uint8(1)


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=5))
def test_every_lane_hears_its_own_answers_in_the_rounds_of_the_longest(lanes: list[list[int]]) -> None:
    channel, echo = LaneChannel(), Echo()
    heard: list[list[int]] = [[] for _ in lanes]

    def lane(number: int) -> None:
        for size in lanes[number]:
            sent = np.full(size, 10 * number + size, np.uint32)
            answer = channel.exchange(sent, sent.nbytes)
            np.testing.assert_array_equal(answer, sent.view(np.uint8) + np.uint8(1))
            heard[number].append(size)

    run_together(echo.exchange, [lambda number=number: lane(number) for number in range(len(lanes))])  # type: ignore[misc]
    assert heard == lanes
    assert echo.rounds == max(map(len, lanes))


def test_a_lane_may_only_send_or_only_receive() -> None:
    class Peer:
        def exchange(self, outgoing: np.ndarray | None, incoming_bytes: int) -> np.ndarray:
            assert outgoing is not None
            assert outgoing.tolist() == [1, 2]
            return np.arange(incoming_bytes, dtype=np.uint8)

    channel = LaneChannel()
    answers: list[list[int]] = []
    run_together(Peer().exchange, [
        lambda: answers.append(channel.exchange(np.array([1, 2], np.uint8), 0).tolist()),
        lambda: answers.append(channel.exchange(None, 3).tolist()),
    ])  # fmt: skip
    assert answers == [[], [0, 1, 2]]


def test_a_lane_that_fails_ends_the_walk() -> None:
    def fails() -> None:
        raise ValueError("no such share")

    with pytest.raises(ValueError, match="no such share"):
        run_together(Echo().exchange, [lambda: None, fails])


def test_what_a_lane_receives_is_its_own_and_begins_where_words_may_begin() -> None:
    channel = LaneChannel()
    answers: list[np.ndarray] = []
    run_together(
        lambda outgoing, incoming_bytes: np.zeros(incoming_bytes, np.uint8),
        [lambda: answers.append(channel.exchange(None, 3)), lambda: answers.append(channel.exchange(None, 8))],
    )
    for answer in answers:
        answer += np.uint8(1)
        assert answer.flags.owndata
        assert answer.ctypes.data % 8 == 0
