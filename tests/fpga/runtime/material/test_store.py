"""Material is used once: across sessions, processes, crashes and restored files."""

import json
import multiprocessing
import os
import stat
import subprocess
import tempfile
import time

import numpy as np
import pytest

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.program import LinearOp, ReluOp, TruncateOp
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.material import dealer
from rrnet_nni.fpga.runtime.material import store as store_module
from rrnet_nni.fpga.runtime.material.corrections_file import corrections_path
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.material.party_set import party_directory, read_keys, unused_count
from rrnet_nni.fpga.runtime.material.scratch import temporary_directory
from rrnet_nni.fpga.runtime.material.store import MaterialStore
from rrnet_nni.fpga.runtime.session.conformance import ProgramBuilder

DIGEST = "d" * 64


def small_program():
    b = ProgramBuilder((6,), 8)
    b.add(LinearOp, "fc", ["image"], (9,), 16, weight=b.constant("w", (9, 6), 8, 100), bias=None)
    b.add(TruncateOp, "t", ["fc"], (9,), 8, bits=8)
    b.add(ReluOp, "relu", ["t"], (9,), 8)
    return b.program()


@pytest.fixture(params=executions().values(), ids=executions())
def root(request, tmp_path):
    path = tmp_path / "material"
    prepare_set(path, small_program(), DIGEST, request.param, 5)
    return path


def test_claimed_material_is_never_given_again(root):
    with MaterialStore(root, 1) as store:
        taken = store.claim(0, 2).take(2)
        with pytest.raises(Refusal, match="used once"):
            store.claim(1, 1)
        assert taken.images == 2
    with MaterialStore(root, 1) as store:
        assert store.next_index == 2
        with pytest.raises(Refusal, match="has been used"):
            store.claim(0, 1)
        with pytest.raises(Refusal, match="enough for 3 of 4"):
            store.claim(2, 4)


def test_a_crash_after_the_claim_burns_the_inference(root):
    store = MaterialStore(root, 0)
    store.claim(0, 3)
    os.close(store._lock)
    assert unused_count(party_directory(root, 0)) == 2


def test_the_claim_is_durable_before_it_returns(root, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(store_module.os, "fsync", lambda descriptor: (synced.append(descriptor), real(descriptor)))
    with MaterialStore(root, 0) as store:
        store.claim(0, 1)
    assert len(synced) >= 2


def test_corrections_leave_the_disk_when_they_are_read(root):
    with MaterialStore(root, 1) as store:
        store.claim(0, 1).take(1)
        with pytest.raises(ExecutionFault, match="cannot be read"):
            store.read(range(0, 1), [bytes(16)])
    assert not corrections_path(party_directory(root, 1), 0).exists()
    assert corrections_path(party_directory(root, 1), 1).exists()


def test_a_second_process_is_kept_away(root):
    with MaterialStore(root, 0), pytest.raises(Refusal, match="another process"):
        MaterialStore(root, 0)


def test_material_is_for_one_program_one_protocol_one_model(root):
    with MaterialStore(root, 1) as store:
        with pytest.raises(Refusal, match="another program"):
            store.check_program("e" * 64, store.description.protocol)
        with pytest.raises(Refusal, match="not for"):
            store.check_program(DIGEST, "other")
        weights = {"w": np.zeros((9, 6), np.int32)}
        store.bind_weights(weights)
        store.bind_weights(weights)
        with pytest.raises(Refusal, match="other weights"):
            store.bind_weights({"w": np.ones((9, 6), np.int32)})


def test_what_a_session_claimed_and_never_read_leaves_the_disk_at_the_next_claim(root):
    with MaterialStore(root, 1) as store:
        store.claim(0, 3).take(1)
    with MaterialStore(root, 1) as store:
        store.claim(3, 1)
    left = sorted(path.name for path in party_directory(root, 1).glob("inference-*"))
    assert left == [corrections_path(root, index).name for index in (3, 4)]


def test_material_that_a_session_uses_is_not_replaced(root):
    with MaterialStore(root, 0) as client, MaterialStore(root, 1) as store:
        before = store.description.set_id
        client.claim(0, 5)
        material = store.claim(0, 5)
        for replace in (False, True):
            with pytest.raises(Refusal, match="another process is using"):
                prepare_set(root, small_program(), DIGEST, executions()["masked"], 1, replace)
        assert material.take(5).images == 5
    prepare_set(root, small_program(), DIGEST, executions()["masked"], 1, replace=True)
    with MaterialStore(root, 0) as store:
        assert store.description.set_id != before


@pytest.mark.parametrize(
    "used",
    [
        *(f'{{"next": {number}, "link": "{"0" * 64}"}}' for number in ("-1", '"0"', "true")),
        '{"next": 0}',
        '{"next": 0, "link": "00"}',
        "{",
        None,
    ],
)
def test_material_of_which_it_is_unknown_what_was_used_is_refused_until_it_is_replaced(root, used):
    path = party_directory(root, 0) / "used.json"
    path.unlink() if used is None else path.write_text(used)
    with pytest.raises(Refusal, match="what was used is unknown"), MaterialStore(root, 0) as store:
        store.claim(0, 1)
    with pytest.raises(Refusal, match="what was used is unknown"):
        prepare_set(root, small_program(), DIGEST, executions()["masked"], 1)
    prepare_set(root, small_program(), DIGEST, executions()["masked"], 1, replace=True)
    assert unused_count(party_directory(root, 0)) == 1


def test_a_missing_or_short_key_and_a_damaged_description_are_refused(root):
    path = party_directory(root, 0) / "weights.key"
    path.write_bytes(b"short")
    with pytest.raises(Refusal, match=r"weights\.key is damaged"):
        MaterialStore(root, 0)
    path.unlink()
    with pytest.raises(Refusal, match=r"weights\.key cannot be read: No such file"):
        MaterialStore(root, 0)
    path = party_directory(root, 1) / "set.json"
    whole = json.loads(path.read_text())
    for damage in ({"count": "many"}, {"set_id": whole["set_id"][1:]}, {"set_id": "no hexadecimal digits at all, 32"}):
        path.write_text(json.dumps(whole | damage))
        with pytest.raises(Refusal, match=r"set\.json is damaged"):
            MaterialStore(root, 1)


def test_damage_is_refused(root):
    path = corrections_path(party_directory(root, 1), 0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    operations = range(len(small_program().operations))
    with MaterialStore(root, 1) as store:
        material = store.claim(0, 1).take(1)
        with pytest.raises(Refusal, match="damaged"):
            list(map(material.corrections, operations))
    (party_directory(root, 0) / "used.json").write_text("{}")
    with pytest.raises(Refusal, match="what was used is unknown"):
        unused_count(party_directory(root, 0))


def test_a_partys_secrets_are_its_own_and_readable_by_the_owner_only(root):
    for party in (0, 1):
        directory = party_directory(root, party)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for name in ("weights.key", "used.json"):
            assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    keys = [read_keys(party_directory(root, party)) for party in (0, 1)]
    elsewhere = b"".join(p.read_bytes() for p in party_directory(root, 1).iterdir())
    for secret in (keys[0].weights, keys[0].link, keys[0].link.hex().encode()):
        assert secret not in elsewhere
    descriptions = [json.loads((party_directory(root, party) / "set.json").read_text()) for party in (0, 1)]
    assert descriptions[0]["set_id"] == descriptions[1]["set_id"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dealer, "write_corrections", full)
    with pytest.raises(ExecutionFault, match="No space left"):
        prepare_set(tmp_path / "m", small_program(), DIGEST, executions()["beaver-ot"], 2)
    assert list(tmp_path.iterdir()) == []


def test_material_is_not_prepared_in_place_of_a_link(tmp_path):
    (tmp_path / "m").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match="m is a link"):
        prepare_set(tmp_path / "m", small_program(), DIGEST, executions()["beaver-ot"], 1)


def test_what_a_killed_dealer_left_is_swept_by_the_next_one(tmp_path):
    """But not what belongs to a living one."""
    root, program = tmp_path / "m", small_program()

    def dealer():
        def stop(done, count):
            waiting.set()
            time.sleep(60)

        prepare_set(root, program, DIGEST, executions()["beaver-ot"], 3, progress=stop)

    context = multiprocessing.get_context("fork")
    waiting = context.Event()
    process = context.Process(target=dealer, daemon=True)
    process.start()
    assert waiting.wait(20)
    prepare_set(root, program, DIGEST, executions()["beaver-ot"], 1)
    left = list(tmp_path.glob(".m.partial-*"))
    assert len(left) == 1
    assert list(left[0].iterdir())
    process.kill()
    process.join(10)
    prepare_set(root, program, DIGEST, executions()["beaver-ot"], 1, replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_temporary_directory_of_a_killed_run_is_swept_by_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_directory() as mine:
        (mine / "seed").write_bytes(b"secret")
        dead = mine.with_name(mine.name + "x")
        dead.mkdir()
        (dead / "seed").write_bytes(b"secret")
        with temporary_directory():
            assert (mine / "seed").exists()
            assert not dead.exists()
    assert list(tmp_path.iterdir()) == []


def test_material_of_another_layout_is_refused(root):
    with MaterialStore(root, 1) as store:
        size = store.description.corrections_bytes
        store.check_size(size)
        with pytest.raises(Refusal, match="another release made it"):
            store.check_size(size + 4)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_up_while_dealing_leaves_nothing_behind(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        with pytest.raises(ExecutionFault, match="No space left"):
            prepare_set(disk / "m", small_program(), DIGEST, executions()["masked"], 2000)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_corrections_alone_are_uniform(root):
    """Party 1's files are the dealt values minus party 0's expansion: noise without party 0's seed."""
    with MaterialStore(root, 1) as store:
        material = store.claim(0, 5).take(5)
        parts = [buffer for image in material._parts for buffer in image]
    octets = np.concatenate(parts)
    counts = np.bincount(octets, minlength=256)
    expected = octets.size / 256
    score = (((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(510)
    assert abs(score) < 6
