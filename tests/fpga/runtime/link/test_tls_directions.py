"""Each side of the encrypted link verifies the other one by itself: one stranger at a time."""

import shutil
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from rrnet_nni.base.errors import ExecutionFault
from rrnet_nni.fpga.runtime.link.tls import make_pair, secure


def handshakes(client, server):
    """What each side ends with: a socket, or its own fault."""
    plain = socket.socketpair()

    def side(number, directory):
        try:
            return secure(plain[number], directory, number == 1, 10)
        except ExecutionFault as fault:
            return fault

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(side, 0, client), pool.submit(side, 1, server)]
        return [future.result(timeout=30) for future in futures]


@pytest.fixture
def ours(tmp_path):
    make_pair(tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def strangers(tmp_path):
    make_pair(tmp_path / "strangers")
    return tmp_path / "strangers"


def trusting(stranger, ours, party, tmp_path):
    """A stranger that accepts us: its own key and certificate, our certificate as its peer's."""
    directory = tmp_path / "trusting"
    shutil.copytree(stranger / f"party-{party}", directory)
    shutil.copy(ours / f"party-{party}" / "peer.pem", directory / "peer.pem")
    return directory


def test_two_parties_that_know_each_other_are_connected(ours):
    ends = handshakes(ours / "party-0", ours / "party-1")
    assert [end.version() for end in ends] == ["TLSv1.3", "TLSv1.3"]


def test_a_server_refuses_a_strange_client_that_accepts_the_server(ours, strangers, tmp_path):
    _, server = handshakes(trusting(strangers, ours, 0, tmp_path), ours / "party-1")
    assert isinstance(server, ExecutionFault)


def test_a_client_refuses_a_strange_server_that_accepts_the_client(ours, strangers, tmp_path):
    client, _ = handshakes(ours / "party-0", trusting(strangers, ours, 1, tmp_path))
    assert isinstance(client, ExecutionFault)
