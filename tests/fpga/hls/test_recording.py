"""A recorded accelerator runs alone and ends with the same memory and messages; another party's words are noticed."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from helpers.networks.small_onnx_models import mixed_model
from helpers.simulated_builds import compiled, images_for, prepared

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.hls import recording
from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.hls.simulator import build_simulator, find_cxx
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.reference import encode_images

pytestmark = pytest.mark.skipif(find_cxx() is None, reason="there is no C++ compiler for the accelerator's sources")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    build = compiled(folder / "model", mixed_model(16), "masked")
    words = encode_images(build.program, images_for(build, 2))
    simulate_accelerators(build, words, prepared(build, folder / "material", 2), record=folder / "record")
    return folder / "record"


@pytest.mark.parametrize("party", [0, 1])
def test_a_recorded_accelerator_runs_without_its_peer(
    recorded: Path, party: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recording.main([str(recorded / f"party{party}"), "--party", str(party)]) == 0
    assert capsys.readouterr().out == "memory.out: as recorded\nsent.out: as recorded\n"


def test_a_recording_which_holds_keys_is_its_owners_alone(recorded: Path) -> None:
    for folder in (recorded / "party0", recorded / "party1"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
        assert (folder / "keys.bin").is_file()


def test_what_one_party_sent_is_what_arrived_at_the_other(recorded: Path) -> None:
    for party in (0, 1):
        sent = (recorded / f"party{party}" / "sent.out").read_bytes()
        assert sent == (recorded / f"party{1 - party}" / "peer.bin").read_bytes() != b""


def test_another_word_of_the_peer_is_noticed(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*recording.INPUTS, *recording.ANSWERS):
        data = bytearray((recorded / "party1" / name).read_bytes())
        if name == "peer.bin":
            data[0] ^= 1
        (tmp_path / name).write_bytes(data)
    assert recording.main([str(tmp_path), "--party", "1"]) == 1
    assert "memory.out: NOT as recorded" in capsys.readouterr().out


def test_a_third_party_is_no_party(recorded: Path) -> None:
    simulator = build_simulator(load_device("zcu104"))
    assert subprocess.run([simulator, "2", recorded / "party0"], capture_output=True, check=False).returncode == 11


def test_a_recording_that_cannot_be_kept_is_refused_before_material_is_used_up(recorded: Path, tmp_path: Path) -> None:
    build = load_build(recorded.parent / "model" / "build")
    words = encode_images(build.program, images_for(build, 1))
    material = prepared(build, tmp_path / "material", 1)
    with pytest.raises(Refusal, match="party0 already exists"):
        simulate_accelerators(build, words, material, record=recorded)
    with pytest.raises(Refusal, match="cannot be written"):
        simulate_accelerators(build, words, material, record=recorded / "party0" / "sent.out" / "deeper")
    assert simulate_accelerators(build, words, material).logits.shape[0] == 1


def test_a_peer_that_sends_too_little_and_a_missing_file_are_said(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*recording.INPUTS, *recording.ANSWERS):
        data = (recorded / "party0" / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-1] if name == "peer.bin" else data)
    assert recording.main([str(tmp_path), "--party", "0"]) == 1
    assert "stopped: the other party is gone" in capsys.readouterr().err
    (tmp_path / "keys.bin").unlink()
    assert recording.main([str(tmp_path), "--party", "0"]) == 2
    assert "holds no keys.bin" in capsys.readouterr().err
