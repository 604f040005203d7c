"""A link that damages, cuts, stalls or replays: both parties notice, and no logits come out."""

import contextlib
import socket
import threading
import time

import pytest
from helpers.parties.executing_parties import DIGEST, Run, network
from helpers.parties.forked_parties import relay_with

from rrnet_nni.base.errors import ExecutionFault
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session.agreement import Terms
from rrnet_nni.fpga.runtime.session.session import Party


def test_bytes_pass_through_an_honest_relay(material):
    run = Run(material("beaver-ot"), relay=relay_with(lambda position, octets: octets))
    assert run.outcome(0)[0] == run.outcome(1)[0] == "logits"


@pytest.mark.parametrize("protocol", executions())
@pytest.mark.parametrize("place", [5, 600, 5_000, 20_000])
def test_a_flipped_byte_is_noticed_and_no_logits_come_out(material, place, protocol):
    def flip(position, octets):
        if position <= place < position + len(octets):
            octets[place - position] ^= 0x10
        return octets

    run = Run(material(protocol), protocol, relay=relay_with(flip))
    outcomes = run.outcome(0), run.outcome(1)
    assert [kind for kind, _ in outcomes] == ["fault", "fault"], outcomes


@pytest.mark.parametrize("protocol", executions())
@pytest.mark.parametrize("place", [0, 700, 20_000])
def test_a_cut_link_is_noticed_and_no_logits_come_out(material, place, protocol):
    def cut(position, octets):
        return None if position + len(octets) > place else octets

    run = Run(material(protocol), protocol, relay=relay_with(cut))
    outcomes = run.outcome(0), run.outcome(1)
    assert [kind for kind, _ in outcomes] == ["fault", "fault"], outcomes


@pytest.mark.parametrize("protocol", executions())
def test_a_stall_longer_than_the_timeout_ends_both(material, protocol):
    def stall(position, octets):
        if position > 2_000:
            time.sleep(4)
        return octets

    run = Run(material(protocol), protocol, timeout_s=1.0, relay=relay_with(stall))
    outcomes = run.outcome(0), run.outcome(1)
    assert [kind for kind, _ in outcomes] == ["fault", "fault"], outcomes
    assert any("stalled" in sentence for _, sentence in outcomes)


def test_a_recorded_session_is_refused_before_any_share_is_sent(material):
    """A replayed client: everything that a client once said, said again to a server."""
    root = material("beaver-ot")
    recorded = bytearray()

    def record(position, octets):
        recorded.extend(octets)
        return octets

    run = Run(root, relay=relay_with(record))
    assert run.outcome(0)[0] == run.outcome(1)[0] == "logits"
    ours, theirs = socket.socketpair()
    program, weights = network()

    def replay():
        with contextlib.suppress(OSError):
            theirs.sendall(recorded)

    sender = threading.Thread(target=replay, daemon=True)
    sender.start()
    with MaterialStore(root, 1) as store, Link(ours, "the client", 5) as link:
        used = store.next_index
        with pytest.raises(ExecutionFault, match="replayed"):
            Party(1, program, executions()["beaver-ot"], link, store).run(
                Terms(DIGEST, "beaver-ot", 0, None, 2), None, weights
            )
        assert store.next_index == used
        assert link.counters.bytes_sent == 0
    theirs.close()
