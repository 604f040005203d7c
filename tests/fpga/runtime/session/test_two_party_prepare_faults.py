"""Whoever dies while two parties prepare: the other one stops soon, and nothing is left that a run would take."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest
from helpers.parties.forked_parties import relay_with
from helpers.parties.prepared_by_parties import DIGEST, Preparation

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.protocols import preparations
from rrnet_nni.fpga.runtime.material.party_set import party_directory, read_description
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session import two_party_prepare

each_protocol = pytest.mark.parametrize("protocol", preparations())


def leftovers(root):
    """Directories that a party left beside the place of its material."""
    return [path.name for machine in (0, 1) for path in (root / f"machine-{machine}").glob(".*partial*")]


def check_unusable(root):
    """No run takes what is there: a part is missing, or the two parts are of different sets."""
    identities = set()
    for party in (0, 1):
        try:
            with MaterialStore(root / f"machine-{party}" / "material", party) as store:
                identities.add(store.description.set_id)
        except Refusal:
            identities.add(None)
    assert None in identities or len(identities) == 2


def check_rerun(root, protocol):
    """A rerun works, and both parts are of one set."""
    for party in (0, 1):
        subprocess.run(["rm", "-rf", str(root / f"machine-{party}")], check=True)
    run = Preparation(root, protocol)
    assert [run.outcome(party, 30) for party in (0, 1)] == [("prepared", True)] * 2
    assert leftovers(root) == []
    described = [read_description(party_directory(root / f"machine-{party}" / "material", party)) for party in (0, 1)]
    assert described[0].set_id == described[1].set_id
    assert all((each.preprocessing, each.protocol) == ("two-party", protocol) for each in described)


def check_kills(root, protocol, moments, generator):
    started = time.monotonic()
    check_rerun(root, protocol)
    duration = time.monotonic() - started
    faults = 0
    for moment in range(moments):
        victim = moment % 2
        for party in (0, 1):
            subprocess.run(["rm", "-rf", str(root / f"machine-{party}")], check=True)
        run = Preparation(root, protocol)
        time.sleep(generator.uniform(0, duration))
        os.kill(run.processes[victim].pid, signal.SIGKILL)
        killed, survivor = run.outcome(victim), run.outcome(1 - victim)
        assert survivor is not None
        if survivor[0] == "fault":
            faults += 1
            assert f"party {victim}" in survivor[1], survivor
            check_unusable(root)
        else:
            assert killed is None or killed[0] == "prepared"
    assert faults
    check_rerun(root, protocol)


@each_protocol
def test_a_killed_party_stops_the_other_and_leaves_nothing_to_use(protocol, tmp_path):
    check_kills(tmp_path, protocol, 4, np.random.default_rng(0))


@each_protocol
@pytest.mark.slow
def test_each_party_killed_at_fifty_moments_of_the_preparation(protocol, tmp_path):
    check_kills(tmp_path, protocol, 100, np.random.default_rng(1))


def flip(place):
    def damage(position, octets):
        if position <= place < position + len(octets):
            octets[place - position] ^= 0x10
        return octets

    return damage


def cut(place):
    return lambda position, octets: None if position + len(octets) > place else octets


def stall(position, octets):
    if position > 10_000:
        time.sleep(3)
    return octets


@pytest.mark.parametrize(
    ("damage", "timeout_s"),
    [(flip(40), 20), (flip(3_000), 20), (flip(400_000), 20), (cut(0), 20), (cut(200_000), 20), (stall, 1)],
    ids=["flip hello", "flip points", "flip ciphertexts", "cut at once", "cut later", "stall"],
)
def test_a_damaged_cut_or_stalled_link_ends_both_and_leaves_nothing(tmp_path, damage, timeout_s):
    run = Preparation(tmp_path, "masked", timeout_s=timeout_s, relay=relay_with(damage))
    outcomes = run.outcome(0), run.outcome(1)
    assert [kind for kind, _ in outcomes] == ["fault", "fault"], outcomes
    assert leftovers(tmp_path) == []
    check_unusable(tmp_path)


def test_parties_that_prepare_different_programs_refuse_each_other(tmp_path):
    run = Preparation(tmp_path, "masked", digests=(DIGEST, "c" * 64))
    assert all("differ in program" in run.outcome(party)[1] for party in (0, 1))


def test_a_full_disk_stops_both_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(two_party_prepare, "write_corrections", full)
    run = Preparation(tmp_path, "masked")
    outcomes = run.outcome(0), run.outcome(1)
    assert [kind for kind, _ in outcomes] == ["fault", "fault"], outcomes
    assert all("No space left" in sentence for _, sentence in outcomes)
    assert leftovers(tmp_path) == []
    check_unusable(tmp_path)
