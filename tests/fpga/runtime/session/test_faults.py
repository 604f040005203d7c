"""Whoever dies and whatever breaks: the others stop soon, say why, output no logits and never reuse material."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers.forked_parties import SURVIVAL_S, ForkedParties, relay_with, wait_for_child

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.program import LinearOp, MaxPoolOp, ReluOp, ReshapeOp, TruncateOp
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.frames import WIRE_VERSION
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.party_set import party_directory, unused_count
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session import agreement
from rrnet_nni.fpga.runtime.session.agreement import Terms
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder
from rrnet_nni.fpga.runtime.session.session import Party

DIGEST = "a" * 64
SECRET = 1.2345678
#: Inferences in a set: for many sessions of six images, and for a dealer that is killed.
IMAGES, DEALT = 6 * 110, 120


def network():
    b = ProgramBuilder((2, 16, 16), 8, seed=1)
    b.add(ReluOp, "relu", ["image"], (2, 16, 16), 8)
    b.add(MaxPoolOp, "pool", ["relu"], (2, 8, 8), 8, kernel=(2, 2), stride=(2, 2))
    b.add(ReshapeOp, "flat", ["pool"], (128,), 8)
    b.add(LinearOp, "fc", ["flat"], (64,), 16, weight=b.constant("w", (64, 128), 8, 50), bias=None)
    b.add(TruncateOp, "t", ["fc"], (64,), 8, bits=8)
    b.add(ReluOp, "relu2", ["t"], (64,), 8)
    return b.program(), b.weights


def party_process(number, end, other_end, root, protocol, timeout_s, images, pipe):
    """One party in a process of its own; reports ("logits", sum) or ("fault", sentence)."""
    other_end.close()
    program, weights = network()
    try:
        with MaterialStore(root, number) as store, Link(end, f"party {1 - number}", timeout_s) as link:
            party = Party(number, program, executions()[protocol], link, store)
            terms = Terms(DIGEST, protocol, 0, len(images) if number == 0 else None, 2)
            words = np.full((len(images), 2, 16, 16), 77, np.uint32) if number == 0 else None
            result = party.run(terms, words, weights if number == 1 else None)
        pipe.send(("logits", None if result.logits is None else result.logits.shape))
    except (ExecutionFault, Refusal) as error:
        pipe.send(("fault", str(error)))


class Run(ForkedParties):
    """An execution by both parties."""

    def __init__(self, root, protocol="beaver-ot", timeout_s=20.0, images=6, relay=None):
        super().__init__(party_process, lambda number: (root, protocol, timeout_s, range(images)), relay)


def kill_at(root, victim, delay_s, protocol):
    run = Run(root, protocol)
    time.sleep(delay_s)
    os.kill(run.processes[victim].pid, signal.SIGKILL)
    return run.outcome(victim), run.outcome(1 - victim)


def used_counts(root):
    return [IMAGES - unused_count(party_directory(root, party)) for party in (0, 1)]


def check_kills(root, protocol, moments, generator):
    """Kill at random moments; material that was begun is never begun again."""
    duration = 0.5
    faults = 0
    before = [0, 0]
    for moment in range(moments):
        victim = moment % 2
        killed, survivor = kill_at(root, victim, generator.uniform(0, duration), protocol)
        assert survivor is not None
        if survivor[0] == "fault":
            faults += 1
            assert f"party {victim}" in survivor[1] or "handshake" in survivor[1], survivor
        else:
            assert killed is None or killed[0] == "logits"
        used = used_counts(root)
        assert all(now >= then for now, then in zip(used, before))
        before = used
    assert faults
    run = Run(root, protocol)
    assert [run.outcome(number)[0] for number in (0, 1)] == ["logits", "logits"]
    assert used_counts(root)[0] == max(before) + 6 == used_counts(root)[1]


@pytest.fixture
def material(tmp_path):
    def prepare(protocol):
        prepare_set(tmp_path / "material", network()[0], DIGEST, executions()[protocol], IMAGES)
        return tmp_path / "material"

    return prepare


@pytest.mark.parametrize("protocol", executions())
def test_a_killed_party_stops_the_other_and_burns_what_was_begun(material, protocol):
    check_kills(material(protocol), protocol, 4, np.random.default_rng(0))


@pytest.mark.slow
@pytest.mark.parametrize("protocol", executions())
def test_each_party_killed_at_fifty_moments(material, protocol):
    check_kills(material(protocol), protocol, 100, np.random.default_rng(1))


def check_dealer_kills(root, protocol, moments, generator):
    """Kill a dealer at random moments: what it leaves is a whole set or none, and the next dealer makes one."""
    program = network()[0]
    started = time.monotonic()
    prepare_set(root, program, DIGEST, executions()[protocol], DEALT)
    duration = time.monotonic() - started
    for _ in range(moments):
        shutil.rmtree(root, ignore_errors=True)
        arguments = root, program, DIGEST, executions()[protocol], DEALT
        dealer = multiprocessing.get_context("fork").Process(target=prepare_set, args=arguments)
        dealer.start()
        time.sleep(generator.uniform(0, 1.2 * duration))
        dealer.kill()
        dealer.join(SURVIVAL_S)
        if root.exists():
            assert [unused_count(party_directory(root, party)) for party in (0, 1)] == [DEALT, DEALT]
        else:
            with pytest.raises(Refusal, match="no prepared material"):
                MaterialStore(root, 0)
    prepare_set(root, program, DIGEST, executions()[protocol], 60, replace=True)
    run = Run(root, protocol)
    assert [run.outcome(number)[0] for number in (0, 1)] == ["logits", "logits"]


@pytest.mark.parametrize("protocol", executions())
def test_a_killed_dealer_leaves_a_whole_set_or_none(tmp_path, protocol):
    check_dealer_kills(tmp_path / "material", protocol, 3, np.random.default_rng(0))


@pytest.mark.slow
@pytest.mark.parametrize("protocol", executions())
def test_a_dealer_killed_at_fifty_moments(tmp_path, protocol):
    check_dealer_kills(tmp_path / "material", protocol, 50, np.random.default_rng(1))


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


@pytest.mark.parametrize("victim", ["dealer", "party 0", "party 1"])
def test_the_command_reports_a_killed_process(tmp_path, victim):
    program, weights = network()
    write_build(tmp_path / "build", program, weights, {"device": "zcu104", "protocol": "beaver-ot"})
    np.save(tmp_path / "x.npy", np.full((400, 2, 16, 16), SECRET))
    command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.run", str(tmp_path / "build"), "--json"]
    running = subprocess.Popen(
        [*command, "--input", str(tmp_path / "x.npy")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    mark = "prepare" if victim == "dealer" else f"--party\0{victim[-1]}"
    child = wait_for_child(running.pid, mark)
    os.kill(child, signal.SIGKILL)
    killed = time.monotonic()
    output, errors = running.communicate(timeout=60)
    assert time.monotonic() - killed < SURVIVAL_S + 5
    assert running.returncode == 1
    assert output == ""
    assert "SIGKILL" in errors
    assert victim in errors
    assert "1.2345" not in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=["ended", "hung up", "killed"])
def test_what_a_command_started_ends_with_it(tmp_path, number):
    program, weights = network()
    write_build(tmp_path / "build", program, weights, {"device": "zcu104", "protocol": "beaver-ot"})
    np.save(tmp_path / "x.npy", np.full((4000, 2, 16, 16), SECRET))
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.run", str(tmp_path / "build"), "--json"]
    running = subprocess.Popen(
        [*command, "--input", str(tmp_path / "x.npy")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path / "scratch")},
        # Tests under nohup inherit that a hang-up is ignored, which the command rightly heeds.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    dealer = wait_for_child(running.pid, "prepare")
    deadline = time.monotonic() + 30
    while not list(tmp_path.rglob("inference-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(running.pid, number)
    output, errors = running.communicate(timeout=60)
    while os.path.exists(f"/proc/{dealer}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{dealer}")
    assert not list(tmp_path.rglob("inference-*"))
    assert output == ""
    if number != signal.SIGKILL:
        assert errors.splitlines()[-1] == "rrnet-2pc-run: interrupted"
        assert not list((tmp_path / "scratch").iterdir())


def test_a_client_of_more_images_than_there_is_material_for_is_refused_at_once(material):
    root = material("masked")
    program, weights = network()
    ends = socket.socketpair()
    with MaterialStore(root, 1) as store, Link(ends[0], "the client", 5) as link, Link(ends[1], "me", 5) as client:
        hello = {"party": 0, "nonce": "", "next_index": 0, "images": 10**15, "protocol": "masked", "batch": 1}
        hello |= {"wire_version": WIRE_VERSION, "release": agreement.RELEASE, "program": DIGEST, "ring_bits": 32}
        hello |= {"material": store.description.set_id, "material_count": IMAGES, "reveal_to": 0}

        def talk():
            sent = json.dumps(hello).encode()
            received = client.exchange_control(sent)
            transcript = b"".join(len(part).to_bytes(4, "big") + part for part in (sent, received))
            proof = hashlib.sha256(hashlib.sha256(transcript).digest() + b"\0").digest()
            client.exchange_control(proof)

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        party = Party(1, program, executions()["masked"], link, store)
        with pytest.raises(Refusal, match=f"left for {IMAGES} of {10**15} images"):
            party.run(Terms(DIGEST, "masked", 0, None, 1), None, weights)
        talking.join(5)
        assert store.next_index == 0


def test_a_failed_run_says_nothing_of_the_images(tmp_path):
    program, weights = network()
    write_build(tmp_path / "build", program, weights, {"device": "zcu104", "protocol": "beaver-ot"})
    np.save(tmp_path / "x.npy", np.full((1, 3, 16, 16), SECRET))
    command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.run", str(tmp_path / "build"), "--debug"]
    failed = subprocess.run(
        [*command, "--input", str(tmp_path / "x.npy")], capture_output=True, text=True, timeout=60, check=False
    )
    assert failed.returncode == 2
    assert "1.2345" not in failed.stdout + failed.stderr
    assert str(int(SECRET * 256)) not in json.dumps(failed.stdout)
