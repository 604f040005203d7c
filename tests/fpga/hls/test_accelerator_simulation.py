"""Two accelerators in C simulation open the words that two software parties open, from the same material."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, mixed_model, sliced_model
from helpers.rewritten_builds import rewritten
from helpers.simulated_builds import (
    compiled,
    handing_on_model,
    images_for,
    kernels_model,
    odd_model,
    prepared,
    software_words,
)

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.hls import csim
from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.hls.simulator import build_simulator, find_cxx
from rrnet_nni.fpga.program.build import Build, calibrated_range, load_build
from rrnet_nni.fpga.program.isa import Queue, decode_instructions, encode_instructions
from rrnet_nni.fpga.program.operands import BUS_BYTES, OperandTable, decode_operands
from rrnet_nni.fpga.program.reference import decode_tensor, encode_images
from rrnet_nni.fpga.protocols import accelerated_names
from rrnet_nni.fpga.runtime.commands.run import main as run_parties

pytestmark = pytest.mark.skipif(find_cxx() is None, reason="there is no C++ compiler for the accelerator's sources")
MUTATIONS, AT_ONCE = 10_000, 2_500
PROTOCOLS = accelerated_names()


def tiny_model() -> onnx.ModelProto:
    """Every kind of operation, as small as it can be."""
    build = ModelBuilder((1, 6, 6), seed=2)
    x = build.node("Relu", [build.conv("image", "conv1", 1, 2)], "relu")
    x = build.node("MaxPool", [x], "maxpool", kernel_shape=[2, 2], strides=[2, 2])
    x = build.x2act(build.conv(x, "conv2", 2, 2, groups=2), "act", 0.02, 0.9, 0.1)
    x = build.node("GlobalAveragePool", [x], "mean")
    return build.model(build.gemm(build.node("Flatten", [x], "flatten"), "logits", 2, 3))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("model", "seed"), [(mixed_model(16), 0), (odd_model(), 11), (tiny_model(), 3), (sliced_model(), 2)]
)
def test_accelerators_open_the_logits_of_the_software_parties(
    tmp_path: Path, model: onnx.ModelProto, seed: int, protocol: str
) -> None:
    build = compiled(tmp_path / "model", model, protocol)
    words = encode_images(build.program, images_for(build, 2))
    material = prepared(build, tmp_path / "material", 2)
    shutil.copytree(material, tmp_path / "copy")
    found = simulate_accelerators(build, words, material, seed=seed)
    np.testing.assert_array_equal(found.logits, software_words(build, words, tmp_path / "copy"))


def test_accelerators_open_what_the_command_for_software_parties_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = compiled(tmp_path / "model", mixed_model(16))
    images = images_for(build, 2)
    np.save(tmp_path / "images.npy", images)
    material = prepared(build, tmp_path / "material", 2)
    shutil.copytree(material, tmp_path / "copy")
    found = simulate_accelerators(build, encode_images(build.program, images), material)
    arguments = [str(build.path), "--input", str(tmp_path / "images.npy"), "--material", str(tmp_path / "copy")]
    capsys.readouterr()
    assert run_parties([*arguments, "--json"]) == 0
    expected = np.array(json.loads(capsys.readouterr().out)["logits"])
    np.testing.assert_array_equal(decode_tensor(build.program, build.program.output, found.logits), expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("model", "accelerated"), [(mixed_model(16), 0), (odd_model(), 1), (tiny_model(), 0), (sliced_model(), 1)]
)
def test_one_accelerator_works_with_one_software_party(
    tmp_path: Path, model: onnx.ModelProto, accelerated: int, protocol: str
) -> None:
    build = compiled(tmp_path / "model", model, protocol)
    words = encode_images(build.program, images_for(build, 2))
    material = prepared(build, tmp_path / "material", 2)
    shutil.copytree(material, tmp_path / "copy")
    found = simulate_accelerators(build, words, material, accelerated=(accelerated,))
    np.testing.assert_array_equal(found.logits, software_words(build, words, tmp_path / "copy"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_accelerators_send_what_the_instructions_say(tmp_path: Path, protocol: str) -> None:
    build = compiled(tmp_path / "model", mixed_model(16), protocol)
    words = encode_images(build.program, images_for(build, 1))
    found = simulate_accelerators(build, words, prepared(build, tmp_path / "material", 1))
    instructions = decode_instructions((build.path / "instructions.bin").read_bytes())
    predicted = [
        sum(item.amount for item in instructions if item.queue is queue) for queue in (Queue.SEND, Queue.RECEIVE)
    ]
    assert [party[0].bytes_sent for party in found.counted] == predicted == build.report["bytes_sent"]
    assert [party[0].instructions for party in found.counted] == [len(instructions)] * 2


def test_material_is_used_once(tmp_path: Path) -> None:
    build = compiled(tmp_path / "model", tiny_model())
    words = encode_images(build.program, images_for(build, 1))
    material = prepared(build, tmp_path / "material", 1)
    simulate_accelerators(build, words, material)
    with pytest.raises(Exception, match="material"):
        simulate_accelerators(build, words, material)


def test_a_missing_wait_is_found(tmp_path: Path) -> None:
    """Without its waits the schedule stops with a status, or computes something else, in some order of the units."""
    build = compiled(tmp_path / "model", mixed_model(16))
    instructions = decode_instructions((build.path / "instructions.bin").read_bytes())
    free = [replace(item, waits=()) for item in instructions]
    data = encode_instructions(free, bytes.fromhex(build.program_digest))
    changed = load_build(rewritten(build.path, tmp_path / "changed", "instructions.bin", data))
    words = encode_images(build.program, images_for(build, 1))
    with pytest.raises(ExecutionFault, match="an instruction comes before one that it needs"):
        simulate_accelerators(changed, words, prepared(build, tmp_path / "material", 1))


def test_a_table_of_another_program_is_refused(tmp_path: Path) -> None:
    build = compiled(tmp_path / "model", tiny_model())
    table = decode_operands((build.path / "operands.bin").read_bytes())
    data = OperandTable(table.header, bytes(12), table.sections).encode()
    changed = load_build(rewritten(build.path, tmp_path / "changed", "operands.bin", data))
    words = encode_images(build.program, images_for(build, 1))
    with pytest.raises(ExecutionFault, match="belong to different programs"):
        simulate_accelerators(changed, words, prepared(build, tmp_path / "material", 1))


def test_the_party_that_stopped_is_named_and_not_the_one_that_waited(tmp_path: Path) -> None:
    """Corrections are party 1's alone; party 0 would wait for its words."""
    build = compiled(tmp_path / "model", tiny_model(), "masked")
    table = decode_operands((build.path / "operands.bin").read_bytes())
    operations = [{**record, "corrections_bytes": 0} for record in table.sections["operations"]]
    data = OperandTable(table.header, table.program_digest, {**table.sections, "operations": operations}).encode()
    changed = load_build(rewritten(build.path, tmp_path / "changed", "operands.bin", data))
    words = encode_images(build.program, images_for(build, 1))
    with pytest.raises(ExecutionFault, match="party 1 stopped: an address lies outside of the dealer's corrections"):
        simulate_accelerators(changed, words, prepared(build, tmp_path / "material", 1))


def test_more_tiles_than_the_chip_has_records_are_refused(tmp_path: Path) -> None:
    build = compiled(tmp_path / "model", tiny_model())
    table = decode_operands((build.path / "operands.bin").read_bytes())
    sections = {**table.sections, "tiles": [*table.sections["tiles"]] * 2000}
    data = OperandTable(table.header, table.program_digest, sections).encode()
    changed = load_build(rewritten(build.path, tmp_path / "changed", "operands.bin", data))
    with pytest.raises(Refusal, match="tiles, the accelerator has records of 16,384"):
        simulate_accelerators(changed, encode_images(build.program, images_for(build, 1)), tmp_path / "material")


def test_the_command_prints_the_logits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = compiled(tmp_path / "model", tiny_model())
    np.save(tmp_path / "x.npy", images_for(build, 2))
    assert csim.main([str(build.path), "--input", str(tmp_path / "x.npy"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert np.array(answer["logits"]).shape == (2, 3)
    assert answer["bytes_sent"][0] > 0


def test_images_beyond_what_was_calibrated_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = compiled(tmp_path / "model", tiny_model())
    known = calibrated_range(build)
    assert known is not None
    images = images_for(build, 1)
    np.save(tmp_path / "x.npy", images / np.abs(images).max() * 1.5 * known.seen)
    assert csim.main([str(build.path), "--input", str(tmp_path / "x.npy"), "--json"]) == 0
    assert capsys.readouterr().err.count("beyond the ±") == 1


@pytest.mark.parametrize("seed", ["-1", "1.5", str(1 << 64)])
def test_a_seed_that_no_register_holds_is_refused(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        csim.main(["build", "--input", "x.npy", "--seed", seed])
    assert "is not a whole number from 0 to 2^64 - 1" in capsys.readouterr().err


def test_bytes_of_a_software_party_are_told_too(tmp_path: Path) -> None:
    build = compiled(tmp_path / "model", tiny_model(), "masked")
    words = encode_images(build.program, images_for(build, 1))
    found = simulate_accelerators(build, words, prepared(build, tmp_path / "material", 1), accelerated=(1,))
    assert csim.describe(build, found)["bytes_sent"] == build.report["bytes_sent"]


def test_a_cache_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(Refusal, match="cannot keep compiled programs: Not a directory; set XDG_CACHE_HOME"):
        build_simulator(load_device("zcu104"), "vectors")


def party_directory(build: Build, folder: Path) -> Path:
    """One party's files, with shares and corrections of zeros."""
    folder.mkdir()
    table = decode_operands((build.path / "operands.bin").read_bytes())
    for name in ("instructions.bin", "operands.bin"):
        shutil.copy(build.path / name, folder / name)
    (folder / "memory.bin").write_bytes(bytes(table.header["memory_words"] * BUS_BYTES))
    (folder / "material.bin").write_bytes(bytes(table.header["material_words"] * BUS_BYTES))
    return folder


def statuses_of_mutations(build: Build, folder: Path, first: int, count: int) -> list[int]:
    """How many of the mutations end in each status; a sanitizer's finding ends the program instead."""
    program = build_simulator(load_device("zcu104"), "mutate", sanitize=True)
    command = [str(program), str(party_directory(build, folder)), str(first), str(count)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=560)
    assert finished.returncode == 0, finished.stderr[-2000:]
    statuses: list[int] = json.loads(finished.stdout)
    assert sum(statuses) == count
    return statuses


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_damaged_files_end_in_a_status(tmp_path: Path, protocol: str) -> None:
    build = compiled(tmp_path / "model", tiny_model(), protocol)
    statuses = statuses_of_mutations(build, tmp_path / "party", 0, 2000)
    assert sum(count > 0 for count in statuses) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, MUTATIONS, AT_ONCE))
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("model", [tiny_model(), odd_model(), kernels_model()])
def test_every_damaged_file_ends_in_a_status(tmp_path: Path, model: onnx.ModelProto, protocol: str, first: int) -> None:
    build = compiled(tmp_path / "model", model, protocol)
    statuses = statuses_of_mutations(build, tmp_path / "party", first, AT_ONCE)
    assert sum(count > 0 for count in statuses) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("model", [mixed_model(16), odd_model(), handing_on_model(), kernels_model()])
def test_the_accelerator_is_clean_under_sanitizers(tmp_path: Path, model: onnx.ModelProto, protocol: str) -> None:
    build = compiled(tmp_path / "model", model, protocol)
    words = encode_images(build.program, images_for(build, 1))
    material = prepared(build, tmp_path / "material", 1)
    found = simulate_accelerators(build, words, material, sanitize=True, seed=5)
    assert found.logits.shape == (1, *build.program.tensor(build.program.output).shape)
