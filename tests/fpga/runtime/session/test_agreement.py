"""Parties that do not agree refuse each other before anything is used."""

import json
import socket
import threading

import numpy as np
import pytest
from helpers.parties.executing_parties import DIGEST, network

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.frames import WIRE_VERSION
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session.agreement import Terms
from rrnet_nni.fpga.runtime.session.session import Party


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"program_digest": "b" * 64}, "another program"),
        ({"reveal_to": 1}, "who learns the logits"),
        ({"batch": 1}, "batch"),
    ],
)
def test_parties_that_want_different_things_refuse_each_other(material, change, sentence):
    root = material("beaver-ot")
    program, weights = network()
    ends = socket.socketpair()
    said = {}

    def run(number):
        fields = {"program_digest": DIGEST, "protocol": "beaver-ot", "reveal_to": 0, "images": None, "batch": 2}
        fields |= {"images": 1} if number == 0 else change
        with MaterialStore(root, number) as store, Link(ends[number], f"party {1 - number}", 5) as link:
            try:
                words = np.zeros((1, 2, 16, 16), np.uint32) if number == 0 else None
                party = Party(number, program, executions()["beaver-ot"], link, store)
                party.run(Terms(**fields), words, weights if number == 1 else None)
            except (Refusal, ExecutionFault) as error:
                said[number] = str(error)
                link.abort(str(error))
            assert store.next_index == 0
            assert link.counters.bytes_sent == 0

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sentence in said[1]
    assert 0 in said


@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        ({"wire_version": WIRE_VERSION, "party": 0, "release": "0.0.1"}, "the release of rrnet-nni: .* 0.0.1 there"),
        ({"wire_version": 7, "party": 0}, "the version of the link: 1 here, 7 there"),
        ({"party": 1}, "both parties say that they are party 1"),
        ({"party": 0, "preparation_version": 2}, "prepares material, this one runs"),
    ],
)
def test_a_peer_of_another_version_is_refused_before_anything_is_used(material, hello, sentence):
    root = material("masked")
    program, weights = network()
    ours, theirs = socket.socketpair()
    with Link(theirs, "the server", 5) as client, MaterialStore(root, 1) as store, Link(ours, "the client", 5) as link:
        talk = threading.Thread(target=client.exchange_control, args=(json.dumps(hello).encode(),), daemon=True)
        talk.start()
        party = Party(1, program, executions()["masked"], link, store)
        with pytest.raises(Refusal, match=sentence):
            party.run(Terms(DIGEST, "masked", 0, None, 2), None, weights)
        talk.join(5)
        assert (store.next_index, link.counters.bytes_sent) == (0, 0)


@pytest.mark.parametrize("hello", [b"{", b"[]", b"\xff", b"[" * 60_000], ids=["open", "list", "octets", "nested"])
def test_a_handshake_that_cannot_be_read_is_a_fault_of_the_link(material, hello):
    root = material("masked")
    program, weights = network()
    ours, theirs = socket.socketpair()
    with Link(theirs, "the server", 5) as client, MaterialStore(root, 1) as store, Link(ours, "the client", 5) as link:
        talk = threading.Thread(target=client.exchange_control, args=(hello,), daemon=True)
        talk.start()
        party = Party(1, program, executions()["masked"], link, store)
        with pytest.raises(ExecutionFault, match="handshake that cannot be read"):
            party.run(Terms(DIGEST, "masked", 0, None, 2), None, weights)
        talk.join(5)
