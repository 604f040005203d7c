"""A stranger cannot end a listener: scans, half handshakes, wrong certificates and slow bytes come and go."""

import resource
import socket
import ssl
import threading
import time

import numpy as np
import pytest

from rrnet_nni.base.errors import ExecutionFault
from rrnet_nni.fpga.runtime.link.addresses import connect
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.link.listener import MOST_PENDING, accept_one
from rrnet_nni.fpga.runtime.link.tls import load_identity, make_pair, secure


@pytest.fixture
def keys(tmp_path):
    make_pair(tmp_path / "ours")
    make_pair(tmp_path / "strangers")
    return tmp_path


class Listening:
    """A listener in a thread."""

    def __init__(self, host, timeout_s, identity, handshake_s=10.0, connect_to=None):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host.strip("[]"), 0))
            port = probe.getsockname()[1]
        self.address, self.result = f"{connect_to or host}:{port}", None
        arguments = f"{host}:{port}", timeout_s, identity, handshake_s
        self.thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self.thread.start()

    def _run(self, *arguments):
        try:
            self.result = accept_one(*arguments)
        except ExecutionFault as fault:
            self.result = fault

    def finish(self, timeout_s=30):
        self.thread.join(timeout_s)
        assert not self.thread.is_alive()
        return self.result


def port_scan(address, keys):
    """It connects and goes."""
    connect(address, 10).close()
    return None


def reset(address, keys):
    """It goes with a reset."""
    stranger = connect(address, 10)
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stranger.close()
    return None


def silent(address, keys):
    """It connects and stays, and says nothing."""
    return connect(address, 10)


def garbage(address, keys):
    """It speaks something else."""
    stranger = connect(address, 10)
    stranger.sendall(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n")
    return stranger


def half_handshake(address, keys):
    """It begins TLS, octet by octet, and does not go on."""
    stranger = connect(address, 10)
    outgoing = ssl.MemoryBIO()
    half = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="server")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    for octet in outgoing.read()[:100]:
        stranger.send(bytes([octet]))
    return stranger


def wrong_certificate(address, keys):
    """It finishes its handshake, with a certificate of its own."""
    stranger = connect(address, 10)
    stranger.settimeout(10)
    context = load_identity(keys / "strangers" / "party-0", False).context
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(stranger)
    except OSError:
        return stranger


def no_certificate(address, keys):
    """It finishes its handshake and shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stranger = connect(address, 10)
    stranger.settimeout(10)
    try:
        return context.wrap_socket(stranger)
    except OSError:
        return stranger


STRANGERS = (port_scan, reset, silent, garbage, half_handshake, wrong_certificate, no_certificate)


def check_strangers(keys, count):
    """Strangers of all kinds, then the real client; the growth of the process in MB."""
    listening = Listening("127.0.0.1", 120, keys / "ours" / "party-1")
    staying, before = [], 0
    for index in range(count):
        staying.append(STRANGERS[index % len(STRANGERS)](listening.address, keys))
        if index == count // 4:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if len(staying) > 3 * MOST_PENDING:  # file descriptors are few
            left = staying.pop(0)
            if left is not None:
                left.close()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert listening.thread.is_alive()
    client = secure(connect(listening.address, 10), keys / "ours" / "party-0", False, 10)
    server = listening.finish()
    assert isinstance(server, ssl.SSLSocket)
    with Link(server, "the client", 10) as ours, Link(client, "the server", 10) as theirs:
        answering = threading.Thread(target=lambda: theirs.exchange(np.arange(5, dtype=np.uint8), 3))
        answering.start()
        assert ours.exchange(np.zeros(3, np.uint8), 5).tolist() == [0, 1, 2, 3, 4]
        answering.join(10)
    for stranger in filter(None, staying):
        stranger.close()
    return grown


def test_strangers_do_not_keep_the_real_client_away(keys):
    check_strangers(keys, 10 * len(STRANGERS))


@pytest.mark.slow
def test_a_thousand_strangers_do_not_keep_the_real_client_away_nor_make_memory_grow(keys):
    assert check_strangers(keys, 1_000) < 8


def test_a_silent_connection_is_dropped_after_its_own_time_limit(keys):
    listening = Listening("127.0.0.1", 30, keys / "ours" / "party-1", handshake_s=0.2)
    stranger = silent(listening.address, keys)
    stranger.settimeout(5)
    assert stranger.recv(1) == b""
    assert listening.thread.is_alive()
    client = secure(connect(listening.address, 10), keys / "ours" / "party-0", False, 10)
    assert isinstance(listening.finish(), ssl.SSLSocket)
    client.close()


def test_a_stranger_alone_is_not_taken_for_the_party(keys):
    listening = Listening("127.0.0.1", 1.0, keys / "ours" / "party-1")
    garbage(listening.address, keys).close()
    assert isinstance(listening.finish(), ExecutionFault)


def test_nobody_but_strangers_is_said_with_the_reason_of_the_last(keys):
    listening = Listening("127.0.0.1", 2.0, keys / "ours" / "party-1")
    garbage(listening.address, keys).close()
    wrong_certificate(listening.address, keys).close()
    said = str(listening.finish())
    assert "nobody connected to" in said
    assert "2 other connections were turned away; the last one: its certificate is not one that is pinned here" in said


def test_without_tls_what_does_not_begin_a_frame_is_turned_away():
    listening = Listening("127.0.0.1", 30, None)
    strangers = [stranger(listening.address, None) for stranger in (port_scan, reset, silent, garbage)]
    with Link(connect(listening.address, 10), "the server", 10) as client:
        answering = threading.Thread(target=lambda: client.exchange_control(b"hello"))
        answering.start()
        with Link(listening.finish(), "the client", 10) as server:
            assert server.exchange_control(b"welcome") == b"hello"
        answering.join(10)
    for stranger in filter(None, strangers):
        stranger.close()


@pytest.mark.parametrize("target", ["127.0.0.1", "[::1]"])
def test_all_addresses_of_version_six_take_version_four_too(keys, target):
    if not socket.has_dualstack_ipv6():
        pytest.skip("no two families here")
    listening = Listening("[::]", 30, keys / "ours" / "party-1", connect_to=target)
    client = secure(connect(listening.address, 10), keys / "ours" / "party-0", False, 10)
    assert isinstance(listening.finish(), ssl.SSLSocket)
    client.close()


def test_waiting_ends_at_its_deadline_whatever_strangers_do(keys):
    listening = Listening("127.0.0.1", 0.5, keys / "ours" / "party-1", handshake_s=60)
    strangers = [silent(listening.address, keys) for _ in range(5)]
    started = time.monotonic()
    assert isinstance(listening.finish(10), ExecutionFault)
    assert time.monotonic() - started < 5
    for stranger in strangers:
        stranger.close()
