"""Strands: conversations over one link at once keep apart, and end together where one fails."""

import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.runtime.link.frames import FRAME_BYTES, LinkFault
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.link.strands import MOST_STRANDS, Strands


def message(strand, turn, party, size):
    return np.random.default_rng((strand, turn, party)).integers(0, 256, size, np.uint8)


def talk(link, party, rounds, delays):
    """All strands of one party, each in a thread; what each received."""

    def one(strand):
        received = []
        for turn, (mine, theirs) in enumerate(zip(rounds[party][strand.number], rounds[1 - party][strand.number])):
            if (strand.number + turn) % 3 == delays:
                threading.Event().wait(0.002)
            received.append(strand.exchange(message(strand.number, turn, party, mine) if mine else None, theirs))
        return received

    with Strands(link, len(rounds[party])) as strands, ThreadPoolExecutor(len(strands.strands)) as pool:
        return list(pool.map(one, strands.strands))


sizes = st.one_of(st.integers(0, 40), st.integers(0, 200_000))


@given(st.data(), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_every_strand_hears_its_own_messages_in_order_and_the_link_counts_all(data, strands, turns):
    plan = st.lists(st.lists(sizes, min_size=turns, max_size=turns), min_size=strands, max_size=strands)
    rounds = (data.draw(plan), data.draw(plan))
    pair = socket.socketpair()
    links = [Link(end, "the other", 20) for end in pair]
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(links[1].exchange, None, 5)
        links[0].exchange(np.zeros(5, np.uint8), 0)
        before.result(timeout=20)
        futures = [pool.submit(talk, links[party], party, rounds, party) for party in (0, 1)]
        heard = [future.result(timeout=60) for future in futures]
        after = pool.submit(links[1].exchange, None, 7)
        links[0].exchange(np.arange(7, dtype=np.uint8), 0)
        assert np.array_equal(after.result(timeout=20), np.arange(7))
    for party in (0, 1):
        for strand in range(strands):
            for turn in range(turns):
                said = message(strand, turn, 1 - party, rounds[1 - party][strand][turn])
                assert np.array_equal(heard[party][strand][turn], said)
    sent = [sum(map(sum, rounds[party])) for party in (0, 1)]
    assert links[0].counters.bytes_sent == links[1].counters.bytes_received == sent[0] + 12
    assert links[1].counters.bytes_sent == sent[1]
    assert links[0].counters.rounds == links[1].counters.rounds == strands * turns + 2
    for link in links:
        link.close()


def test_a_message_larger_than_every_buffer_does_not_hold_the_other_strand_back():
    pair = socket.socketpair()
    links = [Link(end, "the other", 30) for end in pair]
    big = np.arange(3 * FRAME_BYTES, dtype=np.uint8)

    def party(number):
        def first(strand):
            return strand.exchange(big, big.nbytes)

        def second(strand):
            return [int(strand.exchange(np.array([turn], np.uint8), 1)[0]) for turn in range(50)]

        with Strands(links[number], 2) as strands, ThreadPoolExecutor(2) as pool:
            long, short = pool.submit(first, strands.strands[0]), pool.submit(second, strands.strands[1])
            return np.array_equal(long.result(timeout=30), big), short.result(timeout=30)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(party, (0, 1))) == [(True, list(range(50)))] * 2


def frame(payload, strand=0, sequence=0, kind=1, length=None):
    size = len(payload) if length is None else length
    return struct.pack("!2sBBIII", b"R2", 1, kind | strand << 4, sequence, size, zlib.crc32(payload)) + payload


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (frame(b"abc"), "3 bytes where the program expects 4"),
        (frame(b"abc", strand=1), "closed the link"),
        (frame(b"abcd", strand=2), "kind 33 where"),
        (frame(b"abcd", sequence=1), "frame 1"),
        (frame(b"", strand=1), "a frame of 0 bytes"),
        (frame(b"abcd", strand=1, length=FRAME_BYTES + 1), f"a frame of {FRAME_BYTES + 1} bytes"),
        (frame(b"gone", kind=3), "stopped: gone"),
        (frame(b"abcd", strand=1) + frame(b"abcd"), "frame 0 of kind 1 where frame 1 is due"),
    ],
)
def test_what_no_strand_expects_ends_the_link(sent, sentence):
    ends = socket.socketpair()
    with Link(ends[0], "the server", 5) as link, ends[1], Strands(link, 2) as strands:
        ends[1].sendall(sent)
        ends[1].shutdown(socket.SHUT_WR)
        with pytest.raises(LinkFault, match=sentence):
            strands.strands[0].exchange(None, 4)
        with pytest.raises(LinkFault, match=r"another part of the batch failed|sent 3 bytes"):
            strands.strands[1].exchange(None, 4)


def test_a_peer_that_floods_a_strand_ends_the_link_before_the_memory_is_full(monkeypatch):
    monkeypatch.setattr("rrnet_nni.fpga.runtime.link.strands.EARLY_LIMIT_BYTES", 1000)
    ends = socket.socketpair()
    with Link(ends[0], "the server", 5) as link, ends[1], Strands(link, 2) as strands:
        for sequence in range(3):
            ends[1].sendall(frame(bytes(400), strand=1, sequence=sequence))
        with pytest.raises(LinkFault, match="the server sent more than 1000 bytes that this party does not wait for"):
            strands.strands[0].exchange(None, 4)


def test_a_strand_that_fails_wakes_those_that_wait():
    ends = socket.socketpair()
    with Link(ends[0], "the server", 30) as link, ends[1], Strands(link, 3) as strands, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(strand.exchange, None, 1) for strand in strands.strands[:2]]
        threading.Event().wait(0.1)
        strands.fail(ValueError("no memory"))
        for one in waiting:
            with pytest.raises(LinkFault, match="no memory"):
                one.result(timeout=5)


def test_silence_ends_all_strands_after_the_timeout():
    ends = socket.socketpair()
    with Link(ends[0], "the server", 0.3) as link, ends[1], Strands(link, 2) as strands, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(strand.exchange, None, 1) for strand in strands.strands]
        faults = [str(one.exception(timeout=10)) for one in waiting]
        assert all("nothing moved for 0.3 s" in fault for fault in faults)


@pytest.mark.parametrize("count", [0, MOST_STRANDS + 1])
def test_a_link_has_so_many_strands_and_no_more(count):
    ends = socket.socketpair()
    with Link(ends[0], "the server") as link, ends[1], pytest.raises(ValueError, match="1 to 16 strands"):
        Strands(link, count)
