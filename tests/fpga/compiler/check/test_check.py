"""The validator accepts every build of the compiler and finds what is wrong in a changed one."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import mixed_model
from helpers.rewritten_builds import rewritten

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler import compile_command as cli
from rrnet_nni.fpga.compiler import simulate_command
from rrnet_nni.fpga.compiler.check import check
from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.check.scheduled_build import ScheduledBuild
from rrnet_nni.fpga.compiler.check.waits import check_opened_words
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.compiler.schedule import job_writer
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.isa import Instruction, Opcode, decode_instructions, encode_instructions

Change = Callable[[list[Instruction]], None]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("check")
    onnx.save(mixed_model(image_size=32), path / "model.onnx")
    compile_model(path / "model.onnx", path / "build")
    return path / "build"


def with_instructions(build: Path, target: Path, change: Change) -> Path:
    instructions = decode_instructions((build / "instructions.bin").read_bytes())
    change(instructions)
    digest = bytes.fromhex(load_build(build).program_digest)
    return rewritten(build, target, "instructions.bin", encode_instructions(instructions, digest))


def first(instructions: list[Instruction], opcode: Opcode, waiting: bool = False) -> int:
    return next(i for i, item in enumerate(instructions) if item.opcode is opcode and (item.waits or not waiting))


def replace(instructions: list[Instruction], index: int, **changes: object) -> None:
    instructions[index] = dataclasses.replace(instructions[index], **changes)


def test_a_build_of_the_compiler_is_valid(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_build(build).instructions > 100
    assert cli.main(["--check", str(build), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] is True


def _drop_a_store(instructions: list[Instruction]) -> None:
    del instructions[[i for i, item in enumerate(instructions) if item.opcode is Opcode.STORE][-1]]


def _send_less(instructions: list[Instruction]) -> None:
    replace(instructions, first(instructions, Opcode.SEND), amount=1)


def _send_more(instructions: list[Instruction]) -> None:
    instructions.append(instructions[first(instructions, Opcode.SEND)])


def _forget_waits_of(opcode: Opcode) -> Change:
    def change(instructions: list[Instruction]) -> None:
        replace(instructions, first(instructions, opcode, waiting=True), waits=())

    return change


def _overlap_buffers(instructions: list[Instruction]) -> None:
    loads = [i for i, item in enumerate(instructions) if item.opcode is Opcode.LOAD]
    replace(instructions, loads[1], address=instructions[loads[0]].address)


def _leave_the_buffer(instructions: list[Instruction]) -> None:
    replace(instructions, first(instructions, Opcode.LOAD), address=2**31)


def _wait_for_ever(instructions: list[Instruction]) -> None:
    index = first(instructions, Opcode.STORE, waiting=True)
    replace(instructions, index, waits=((instructions[index].waits[0][0], 100_000),))


def _unknown_operation(instructions: list[Instruction]) -> None:
    replace(instructions, 0, operation=999)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop_a_store, "never stored|stuck"),
        (_send_less, "the protocol sends"),
        (_send_more, "the protocol sends|second time"),
        (_forget_waits_of(Opcode.SEND), "may start before"),
        (_forget_waits_of(Opcode.ALU), "may start before"),
        (_forget_waits_of(Opcode.STORE), "may start before"),
        (_overlap_buffers, "may still use"),
        (_leave_the_buffer, "uses buffer bytes"),
        (_wait_for_ever, "stuck|comes later"),
        (_unknown_operation, "operation 999"),
    ],
)
def test_a_broken_rule_is_found(build: Path, tmp_path: Path, change: Change, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        check_build(with_instructions(build, tmp_path / "changed", change))


def test_an_instruction_that_waits_for_nothing_any_more_is_found(build: Path, tmp_path: Path) -> None:
    """Fifteen instructions at random, each without its waits in a build of its own."""
    generator = np.random.default_rng(0)
    for trial in range(15):

        def change(instructions: list[Instruction]) -> None:
            waiting = [i for i, item in enumerate(instructions) if item.waits]
            replace(instructions, int(generator.choice(waiting)), waits=())

        with pytest.raises(Refusal):
            check_build(with_instructions(build, tmp_path / f"changed{trial}", change))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build whose bands of weights are loaded in many pieces."""
    path = tmp_path_factory.mktemp("pieces")
    onnx.save(mixed_model(image_size=8), path / "model.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_writer, "WEIGHT_PIECE_BYTES", 64)
        compile_model(path / "model.onnx", path / "build")
    return path / "build"


def later_piece(instructions: list[Instruction]) -> int:
    return next(i for i, item in enumerate(instructions) if item.opcode is Opcode.LOAD_WEIGHTS and item.count)


def _drop_a_piece(instructions: list[Instruction]) -> None:
    replace(instructions, later_piece(instructions), opcode=Opcode.WAIT)


def _shift_a_piece(instructions: list[Instruction]) -> None:
    index = later_piece(instructions)
    replace(instructions, index, address=instructions[index].address + 64)


def _shorten_a_piece(instructions: list[Instruction]) -> None:
    index = later_piece(instructions)
    replace(instructions, index, amount=instructions[index].amount - 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop_a_piece, "from word|bytes of weights"),
        (_shift_a_piece, "puts weights elsewhere"),
        (_shorten_a_piece, "from word|bytes of weights"),
    ],
)
def test_weights_come_whole_and_in_one_place(pieces: Path, tmp_path: Path, change: Change, message: str) -> None:
    assert check_build(pieces).instructions > 100
    with pytest.raises(Refusal, match=message):
        check_build(with_instructions(pieces, tmp_path / "changed", change))


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masked")
    onnx.save(mixed_model(image_size=8), path / "model.onnx")
    compile_model(path / "model.onnx", path / "build", protocol="masked")
    return path / "build"


def test_a_reader_of_opened_words_waits_for_the_messages_that_open_them(masked: Path) -> None:
    build = load_build(masked)
    instructions = decode_instructions((masked / "instructions.bin").read_bytes())
    stages = check._stages(build)
    check_opened_words(ScheduledBuild(build, load_device("zcu104"), instructions, stages))
    for index, item in enumerate(instructions):
        if item.opcode is Opcode.LOAD and build.program.operations[item.operation].kind == "relu":
            replace(instructions, index, waits=())
    with pytest.raises(Refusal, match="may read"):
        check_opened_words(ScheduledBuild(build, load_device("zcu104"), instructions, stages))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("output", "nowhere", "output"), ("fraction_bits", 3, "fraction bits"), ("shape", [1, 1, 1], "expected")],
)
def test_a_program_that_breaks_a_rule_is_found(
    build: Path, tmp_path: Path, field: str, value: object, message: str
) -> None:
    document = json.loads((build / "program.json").read_bytes())
    target = document if field == "output" else document["tensors"][2]
    target[field] = value
    with pytest.raises(Refusal, match=message):
        check_build(rewritten(build, tmp_path / "changed", "program.json", json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("key", "value"), [("operation", 10**6), ("operation", float("inf")), ("tensor", "nowhere"), ("phases", [3, 1])]
)
def test_a_stage_of_nothing_is_found(build: Path, tmp_path: Path, key: str, value: object) -> None:
    document = json.loads((build / "tiles.json").read_bytes())
    document["stages"][0][key] = value
    with pytest.raises(Refusal, match=r"tiles\.json"):
        check_build(rewritten(build, tmp_path / "changed", "tiles.json", json.dumps(document).encode()))


def test_instructions_of_another_program_are_found(build: Path, tmp_path: Path) -> None:
    data = encode_instructions(decode_instructions((build / "instructions.bin").read_bytes()), b"another one!")
    with pytest.raises(Refusal, match="belongs to another"):
        check_build(rewritten(build, tmp_path / "changed", "instructions.bin", data))


def test_the_simulator_answers_for_this_and_for_other_networks(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(*arguments: str) -> dict[str, float]:
        assert simulate_command.main([str(build), "--json", *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    report = load_build(build).report
    here, slow = answer(), answer("--bandwidth", "12.5e6", "--latency", "0.02")
    assert abs(here["makespan_ms"] / report["makespan_ms"] - 1) < 0.01
    assert set(here["busy"]) == {"load", "store", "array", "comparator", "alu", "send", "receive"}
    assert slow["makespan_ms"] > 20 * 20
    assert answer("--latency", "0")["makespan_ms"] < here["makespan_ms"]


@pytest.mark.parametrize("arguments", [["--bandwidth", "0"], ["--latency", "-1"], ["--latency", "nan"]])
def test_an_impossible_network_is_refused(
    build: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate_command.main([str(build), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
