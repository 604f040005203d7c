"""Rounds that begin before others have ended: everything arrives, in order, and the link counts all of it."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.runtime.link.ahead import RoundsAhead
from rrnet_nni.fpga.runtime.link.frames import FRAME_BYTES, HEADER, LinkFault
from rrnet_nni.fpga.runtime.link.link import Link


def message(turn, party, size):
    return np.random.default_rng((turn, party)).integers(0, 256, size, np.uint8)


def pair(timeout_s=20):
    return [Link(end, "the other", timeout_s) for end in socket.socketpair()]


def talk(link, party, sizes, steps):
    """Begin and finish as `steps` say; what was received."""
    ahead, received, begun = RoundsAhead(link), [], 0
    for begins in steps:
        if begins and begun < len(sizes):
            mine, theirs = sizes[begun][party], sizes[begun][1 - party]
            ahead.begin(message(begun, party, mine) if mine else None, theirs, int(begun % 2 == 0))
            begun += 1
        elif len(received) < begun:
            received.append(ahead.finish())
    while begun < len(sizes):
        ahead.begin(message(begun, party, sizes[begun][party]), sizes[begun][1 - party], int(begun % 2 == 0))
        begun += 1
    received += [ahead.finish() for _ in range(begun - len(received))]
    ahead.close()
    return received


lengths = st.one_of(st.integers(0, 40), st.integers(0, 300_000))


@given(st.lists(st.tuples(lengths, lengths), max_size=8), st.lists(st.booleans(), max_size=16))
@settings(max_examples=25, deadline=None)
def test_rounds_bring_what_the_peer_sent_in_order_and_the_link_goes_on_after_them(sizes, steps):
    links = pair()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(talk, links[party], party, sizes, steps) for party in (0, 1)]
        heard = [each.result(timeout=60) for each in both]
        after = pool.submit(links[1].exchange, None, 7)
        links[0].exchange(np.arange(7, dtype=np.uint8), 0)
        assert np.array_equal(after.result(timeout=20), np.arange(7))
    for party in (0, 1):
        for turn, received in enumerate(heard[party]):
            assert np.array_equal(received, message(turn, 1 - party, sizes[turn][1 - party]))
    counted = links[0].counters
    assert counted.bytes_sent == sum(size[0] for size in sizes) + 7
    assert counted.rounds == -(-len(sizes) // 2) + 1
    frames = sum(-(-size[0] // FRAME_BYTES) for size in sizes) + 1
    assert counted.overhead_bytes == frames * HEADER.size
    for link in links:
        link.close()


def test_what_both_begin_crosses_although_no_socket_holds_it():
    size = 3 * FRAME_BYTES + 5
    links = pair()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(talk, links[party], party, [(size, size)] * 3, [True] * 3) for party in (0, 1)]
        assert [len(each) for result in both for each in result.result(timeout=60)] == [size] * 6


def test_a_peer_that_says_nothing_ends_the_wait():
    links = pair(timeout_s=0.2)
    ahead = RoundsAhead(links[0])
    ahead.begin(None, 4, 1)
    started = time.perf_counter()
    with pytest.raises(LinkFault, match="stalled: nothing moved"):
        ahead.finish()
    assert time.perf_counter() - started > 0.15


def test_why_the_peer_stopped_is_heard():
    links = pair()
    ahead = RoundsAhead(links[0])
    ahead.begin(np.zeros(3, np.uint8), 4, 1)
    links[1].abort("no memory for it")
    links[1].close()
    with pytest.raises(LinkFault, match="no memory for it"):
        ahead.finish()


def test_rounds_that_were_not_finished_are_noticed():
    links = pair()
    ahead = RoundsAhead(links[0])
    ahead.begin(np.zeros(3, np.uint8), 4, 1)
    with pytest.raises(ValueError, match="1 rounds have not been finished"):
        ahead.close()
