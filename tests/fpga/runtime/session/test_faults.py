"""What a killed party, dealer or command leaves behind: a fault in one sentence, and nothing to use twice."""

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
from helpers.parties.executing_parties import DEALT, DIGEST, IMAGES, SECRET, Run, network, used_counts
from helpers.parties.forked_parties import SURVIVAL_S, wait_for_child

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.link.frames import WIRE_VERSION
from rrnet_nni.fpga.runtime.link.link import Link
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.party_set import party_directory, unused_count
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session import agreement
from rrnet_nni.fpga.runtime.session.agreement import Terms
from rrnet_nni.fpga.runtime.session.session import Party


def kill_at(root, victim, delay_s, protocol):
    run = Run(root, protocol)
    time.sleep(delay_s)
    os.kill(run.processes[victim].pid, signal.SIGKILL)
    return run.outcome(victim), run.outcome(1 - victim)


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
        hello |= {"material": store.description.set_id, "material_count": IMAGES, "reveal_to": 0, "reveal": "logits"}
        hello |= {"strands": 1, "ahead": False}

        def talk():
            sent = json.dumps(hello).encode()
            received = client.exchange_control(sent)
            transcript = b"".join(len(part).to_bytes(4, "big") + part for part in (sent, received))
            proof = hashlib.sha256(hashlib.sha256(transcript).digest() + b"\0").digest()
            client.exchange_control(proof)

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        party = Party(1, program, executions()["masked"], link, store)
        with pytest.raises(Refusal, match=f"enough for {IMAGES} of {10**15} images"):
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
