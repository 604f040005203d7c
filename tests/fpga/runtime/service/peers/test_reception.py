"""Strangers at the door of party 1's daemon do not keep party 0's away."""

import socket
import threading

import pytest
from helpers.parties.served import free_port, wait_until

from rrnet_nni.base.errors import ExecutionFault
from rrnet_nni.fpga.runtime.link.addresses import connect
from rrnet_nni.fpga.runtime.link.tls import load_identity, make_pair
from rrnet_nni.fpga.runtime.service.peers.answering import MOST_CONNECTIONS, Answering
from rrnet_nni.fpga.runtime.service.peers.dialogue import LANE, ask, introduction
from rrnet_nni.fpga.runtime.service.peers.peer import Peer
from rrnet_nni.fpga.runtime.service.peers.reception import Reception
from rrnet_nni.fpga.runtime.service.telemetry import Telemetry


@pytest.fixture
def receive():
    """Starts receptions with no model to serve, `most` places and these keys; returns their addresses."""
    stop, threads = threading.Event(), []

    def start(keys=None, most=MOST_CONNECTIONS, serve=None):
        address = f"127.0.0.1:{free_port()}"
        telemetry = Telemetry(1)
        serve = serve or Answering({}, telemetry).serve
        identity = None if keys is None else load_identity(keys, server_side=True)
        peer = Peer("party 0's server", address, keys, 10.0, ())
        reception = Reception(peer, identity, most, serve, stop, telemetry)
        threads.append(threading.Thread(target=reception.run))
        threads[-1].start()
        return address

    yield start
    stop.set()
    for each in threads:
        each.join()


def is_served(peer):
    """Whether party 0's question comes as far as the models."""
    with peer.dial() as link, pytest.raises(ExecutionFault) as answer:
        ask(link, introduction(LANE, "any", {}))
    return "has no model 'any'" in str(answer.value)


@pytest.mark.parametrize("encrypted", [True, False])
def test_more_strangers_than_places_that_say_nothing_do_not_keep_party_0_away(tmp_path, receive, encrypted):
    if encrypted:
        make_pair(tmp_path)
    keys = [tmp_path / f"party-{party}" if encrypted else None for party in (0, 1)]
    address = receive(keys[1], most=2)
    strangers = [connect(address, 10) for _ in range(150)]
    assert is_served(Peer("party 1's server", address, keys[0], 10.0, ()))
    for each in strangers:
        each.close()


def test_who_finds_all_places_taken_is_told_so(receive):
    over = threading.Event()
    peer = Peer("party 1's server", receive(most=1, serve=lambda link, certificate: over.wait(10)), None, 10.0, ())
    first = peer.dial()
    first.hand_over().send(b"R2")
    with peer.dial() as link, pytest.raises(ExecutionFault, match="all places are taken"):
        ask(link, {})
    over.set()
    first.close()


def test_a_place_is_free_again_when_its_connection_ends(receive):
    peer = Peer("party 1's server", receive(most=1), None, 10.0, ())
    for _ in range(3):
        connection = socket.create_connection(peer.address.split(":"))
        connection.sendall(b"R2 and nothing that makes sense")
        assert connection.recv(100)
        connection.close()
    wait_until(lambda: is_served(peer), "the place is not free again")
