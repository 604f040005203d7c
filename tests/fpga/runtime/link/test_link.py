"""The link delivers exactly what was sent, or says what is wrong with the other end."""

import signal
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.native.library import OPTIONS, CompilationUnavailable
from rrnet_nni.fpga.runtime.link import link as link_module
from rrnet_nni.fpga.runtime.link.frames import FRAME_BYTES, LinkFault
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.link.round import CompiledRound, _crosses
from rrnet_nni.fpga.runtime.link.tls import load_identity, make_pair, secure

#: Without the abilities of the CPU that compiles.
PLAIN = tuple(option for option in OPTIONS if option != "-march=native")


def ways():
    """Links move frames by Python alone, and in C where that works: with its own checksums and without."""
    try:
        return {"python": None, "compiled": CompiledRound(), "without checksums": CompiledRound(PLAIN)}
    except CompilationUnavailable:
        return {"python": None}


WAYS = ways()


@pytest.fixture(scope="module", params=WAYS, autouse=True)
def way_of_a_round(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link_module, "compiled_round", lambda: WAYS[request.param])
        yield


@pytest.fixture
def ends():
    pair = socket.socketpair()
    yield pair
    for end in pair:
        end.close()


def both(first, second):
    with ThreadPoolExecutor(2) as pool:
        futures = pool.submit(first), pool.submit(second)
        return tuple(future.result(timeout=30) for future in futures)


@given(sizes=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 300_000)), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_rounds_deliver_both_directions_and_count_payload(sizes):
    messages = [(np.arange(a, dtype=np.uint8), np.arange(b, dtype=np.uint8)[::-1].copy()) for a, b in sizes]
    pair = socket.socketpair()
    links = [Link(end, "the other", 10) for end in pair]

    def party(number):
        received = [links[number].exchange(m[number], len(m[1 - number])) for m in messages]
        return received

    first, second = both(lambda: party(0), lambda: party(1))
    for (a, b), at_first, at_second in zip(messages, first, second):
        assert np.array_equal(at_first, b)
        assert np.array_equal(at_second, a)
    assert links[0].counters.bytes_sent == links[1].counters.bytes_received == sum(a for a, _ in sizes)
    assert links[0].counters.rounds == len(sizes)
    for link in links:
        link.close()


def test_messages_larger_than_every_buffer_cross_at_once(ends):
    big = np.arange(5 * FRAME_BYTES // 4, dtype=np.uint32).repeat(2)
    links = [Link(end, "the other", 30) for end in ends]
    first, second = both(*(lambda link=link: link.exchange(big, big.nbytes) for link in links))
    assert np.array_equal(first.view(np.uint32), big)
    assert np.array_equal(second.view(np.uint32), big)


def frame(payload, kind=1, sequence=0, version=1, magic=b"R2", checksum=None, length=None):
    size, crc = len(payload) if length is None else length, zlib.crc32(payload) if checksum is None else checksum
    return struct.pack("!2sBBIII", magic, version, kind, sequence, size, crc) + payload


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (frame(b"abcd", checksum=1), "damaged"),
        (frame(b"abce", checksum=zlib.crc32(b"abcd")), "damaged"),
        (frame(b"abc"), "3 bytes where the program expects 4"),
        (frame(b"abcd", length=2**32 - 1), "where the program expects 4"),
        (frame(b"abcd", sequence=1), "frame 1"),
        (frame(b"abcd", kind=2), "kind 2"),
        (frame(b"abcd", version=9), "version 9"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak"),
        (frame(b"no disk left", kind=3), "stopped: no disk left"),
        (frame(b"\x1b[2J\x07gone", kind=3), r"stopped: \?\[2J\?gone$"),
        (frame(b"abcd")[:10], "closed the link"),
        (b"", "closed the link"),
    ],
)
def test_what_is_not_the_expected_frame_is_refused(ends, sent, sentence):
    link = Link(ends[0], "the server", 10)
    ends[1].sendall(sent)
    ends[1].shutdown(socket.SHUT_WR)
    with pytest.raises(LinkFault, match=sentence):
        link.exchange(None, 4)


@given(position=st.integers(0, 19), flip=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_flipped_byte_is_noticed(position, flip):
    damaged = bytearray(frame(b"abcd"))
    damaged[position] ^= flip
    first, second = socket.socketpair()
    with Link(first, "the server", 10) as link, second:
        second.sendall(damaged)
        second.shutdown(socket.SHUT_WR)
        with pytest.raises(LinkFault):
            link.exchange(None, 4)


@pytest.mark.parametrize("outgoing", [None, np.zeros(1 << 25, np.uint8)], ids=["receiving", "sending"])
def test_a_stalled_link_ends_after_its_timeout(ends, outgoing):
    link = Link(ends[0], "the server", 0.3)
    started = time.monotonic()
    with pytest.raises(LinkFault, match="stalled"):
        link.exchange(outgoing, 4)
    assert time.monotonic() - started < 5


def test_a_link_that_was_silent_for_its_timeout_is_not_waited_for_again(ends, monkeypatch):
    link, pumped = Link(ends[0], "the server", 0.1), []
    pump = link._pump
    monkeypatch.setattr(link, "_pump", lambda *arguments: (pumped.append(1), pump(*arguments)))
    with pytest.raises(LinkFault, match=r"stalled: nothing moved for 0\.1 s"):
        link.exchange(None, 4)
    assert len(pumped) == (link._round is None)


def test_a_peer_that_dies_while_it_is_sent_to_is_noticed(ends):
    link = Link(ends[0], "the server", 10)
    threading.Timer(0.2, ends[1].close).start()
    with pytest.raises(LinkFault):
        link.exchange(np.zeros(1 << 25, np.uint8), 0)


def test_an_aborting_party_says_why(ends):
    first, second = Link(ends[0], "the server", 10), Link(ends[1], "the client", 10)
    second.abort("the disk is full")
    with pytest.raises(LinkFault, match="the server stopped: the disk is full"):
        first.exchange(np.zeros(10, np.uint8), 10)


@pytest.mark.parametrize("size", [3, 100_000, 3_000_000])
def test_a_round_goes_on_after_a_signal(ends, size):
    """What a handler does is done at once, not when the round has ended; a large message has been sent in part."""
    first, second = (Link(end, "the other", 10) for end in ends)
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    message, handled = np.random.default_rng(size).integers(0, 256, size, np.uint8), []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(time.monotonic()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(lambda: (time.sleep(0.4), second.exchange(message[::-1], size))[1])
            started = time.monotonic()
            received = first.exchange(message, size)
        assert 0.05 < handled[0] - started < 0.35
    finally:
        signal.signal(signal.SIGALRM, before)
    assert np.array_equal(received, message[::-1])
    assert np.array_equal(late.result(), message)
    assert np.array_equal(
        both(lambda: first.exchange(message, 1), lambda: second.exchange(message[:1], size))[1], message
    )


@pytest.mark.parametrize("cut", [5, 12, 16, 20, 19_999])
def test_a_message_that_comes_in_pieces_is_whole(ends, cut):
    link, message = Link(ends[0], "the server", 10), np.arange(20_000, dtype=np.uint16).view(np.uint8)[:20_000]
    octets = frame(message.tobytes()) + frame(b"next", sequence=1)
    threading.Timer(0.1, ends[1].sendall, (octets[cut:],)).start()
    ends[1].sendall(octets[:cut])
    assert np.array_equal(link.exchange(None, 20_000), message)
    assert link.exchange(None, 4).tobytes() == b"next"


def tls_ends(directories):
    """Both handshakes, each result a socket or the exception."""
    plain = socket.socketpair()

    def handshake(number):
        try:
            return secure(plain[number], directories[number], number == 1, 10)
        except ExecutionFault as fault:
            return fault

    return both(lambda: handshake(0), lambda: handshake(1))


def test_messages_cross_a_link_with_mutual_tls(tmp_path):
    make_pair(tmp_path / "c")
    ends = tls_ends([tmp_path / "c" / "party-0", tmp_path / "c" / "party-1"])
    links = [Link(end, "the other", 20) for end in ends]
    big = np.arange(3 * FRAME_BYTES, dtype=np.uint8)
    first, second = both(*(lambda link=link: link.exchange(big, big.nbytes) for link in links))
    assert np.array_equal(first, big)
    assert np.array_equal(second, big)
    for link in links:
        link.close()


def test_a_peer_that_says_nothing_is_told_from_an_unknown_one(tmp_path, ends):
    make_pair(tmp_path / "c")
    with pytest.raises(ExecutionFault, match=r"did not start TLS within 0\.2 s"):
        secure(ends[0], tmp_path / "c" / "party-1", True, 0.2)


def encrypt_key(directory):
    key = serialization.load_pem_private_key((directory / "key.pem").read_bytes(), None)
    hidden = serialization.BestAvailableEncryption(b"password")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    (directory / "key.pem").write_bytes(pem)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda own: (own / "key.pem").unlink(), "lacks key.pem;"),
        (lambda own: (own / "key.pem").write_bytes((own.parent / "party-0" / "key.pem").read_bytes()), "must be a key"),
        (encrypt_key, "key without a password"),
        (lambda own: (own / "peer.pem").write_text("nothing"), "peer.pem is not a certificate"),
    ],
    ids=["missing", "another's key", "with a password", "no certificate"],
)
def test_keys_that_do_not_fit_are_refused_without_a_question(tmp_path, change, sentence):
    make_pair(tmp_path)
    change(tmp_path / "party-1")
    with pytest.raises(Refusal, match=sentence):
        load_identity(tmp_path / "party-1", True)


def test_an_unknown_peer_is_refused_before_anything_is_sent(tmp_path):
    make_pair(tmp_path / "ours")
    make_pair(tmp_path / "strangers")
    ends = tls_ends([tmp_path / "strangers" / "party-0", tmp_path / "ours" / "party-1"])
    assert any(isinstance(end, ExecutionFault) for end in ends)
    assert "not the expected party" in str(next(end for end in ends if isinstance(end, ExecutionFault)))


def test_a_message_that_is_heard_ahead_is_still_the_next_one(ends):
    first, second = (Link(end, "the other", 10) for end in ends)

    def listen_first():
        heard = second.hear_ahead(), second.hear_ahead()
        return *heard, second.exchange_control(b"answer"), second.exchange_control(b"more")

    def speak():
        return first.exchange_control(b"question"), first.exchange_control(b"and on")

    assert both(speak, listen_first) == ((b"answer", b"more"), (b"question", b"question", b"question", b"and on"))
    assert first.counters.overhead_bytes == second.counters.overhead_bytes + len(b"question") - len(b"answer") + 2


def test_a_round_that_computes_other_checksums_is_not_taken(monkeypatch):
    assert [_crosses(way) for way in WAYS.values()] == [way is not None for way in WAYS.values()]
    monkeypatch.setattr("rrnet_nni.fpga.runtime.link.round.zlib.crc32", lambda octets: 7)
    own = [way for way in WAYS.values() if way is not None and way.checks]
    assert not any(_crosses(way) for way in own)
