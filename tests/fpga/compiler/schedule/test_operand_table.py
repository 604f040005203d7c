"""The operand table says what the program and its tiles say, and is found out when it is changed."""

import itertools
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import mixed_model
from helpers.rewritten_builds import rewritten
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.compiler.schedule.operand_table import operand_table
from rrnet_nni.fpga.program import operands
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.operands import Kind, OperandTable, decode_operands
from rrnet_nni.fpga.protocols import get_costs


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("operands")
    onnx.save(mixed_model(image_size=16), path / "model.onnx")
    compile_model(path / "model.onnx", path / "build")
    return path / "build"


def table_of(build: Path) -> OperandTable:
    return decode_operands((build / "operands.bin").read_bytes())


def test_the_table_has_the_geometry_of_every_operation(build: Path) -> None:
    program, table = load_build(build).program, table_of(build)
    assert len(table.sections["operations"]) == len(program.operations)
    for operation, record in zip(program.operations, table.sections["operations"]):
        assert Kind(record["kind"]).name.lower() == operation.kind
        elements = record["out_channels"] * record["out_height"] * record["out_width"]
        assert elements == program.tensor(operation.output).elements
    assert "operands" in check_build(build).checks


def test_memory_areas_do_not_overlap(build: Path) -> None:
    table = table_of(build)
    areas = [(table.header["input"], table.header["input_words"])]
    for record in table.sections["operations"]:
        if record["kind"] != Kind.RESHAPE:
            areas.append((record["output"], record["out_channels"] * record["out_height"] * record["out_width"]))
        if record["kind"] in (Kind.CONV, Kind.LINEAR):
            taps = record["channels"] // record["groups"] * record["height"] * record["width"]
            if record["kind"] == Kind.CONV:
                taps = record["channels"] // record["groups"] * record["kernel_h"] * record["kernel_w"]
            areas.append((record["opened"], record["channels"] * record["height"] * record["width"]))
            areas.append((record["weights"], record["out_channels"] * taps))
            areas.append((record["bias"], record["out_channels"]))
    ends = sorted((start, start + -(-words // 4)) for start, words in areas)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
    assert ends[-1][1] <= table.header["memory_words"]


def test_what_is_encoded_is_decoded(build: Path) -> None:
    data = (build / "operands.bin").read_bytes()
    assert decode_operands(data).encode() == data


@settings(max_examples=30)
@given(data=st.data())
def test_a_damaged_table_is_refused(build: Path, data: st.DataObject) -> None:
    encoded = bytearray((build / "operands.bin").read_bytes())
    position = data.draw(st.integers(0, len(encoded) - 1))
    header_only = range(10, operands.HEADER.size)  # values that the checksum of the records does not cover
    encoded[position] ^= data.draw(st.integers(1, 255))
    if position not in header_only:
        with pytest.raises(Refusal):
            decode_operands(bytes(encoded))
    with pytest.raises(Refusal):
        decode_operands(bytes(encoded[:position]))


@pytest.mark.parametrize(
    ("section", "field"),
    [("operations", "weights"), ("operations", "pad_top"), ("tiles", "row_end"), ("inputs", "address"), ("", "output")],
)
def test_the_check_finds_a_table_that_says_something_else(
    build: Path, tmp_path: Path, section: str, field: str
) -> None:
    table = table_of(build)
    if section:
        table.sections[section][0][field] += 1
    else:
        table = OperandTable({**table.header, field: 0}, table.program_digest, table.sections)
    changed = rewritten(build, tmp_path / "changed", "operands.bin", table.encode())
    with pytest.raises(Refusal, match="not what the program and its tiles say"):
        check_build(changed)


def test_the_table_belongs_to_its_program(build: Path, tmp_path: Path) -> None:
    table = table_of(build)
    other = OperandTable(table.header, bytes(12), table.sections)
    with pytest.raises(Refusal, match=r"another program\.json"):
        check_build(rewritten(build, tmp_path / "changed", "operands.bin", other.encode()))


def test_a_protocol_that_is_not_executed_has_no_operands(tmp_path: Path) -> None:
    onnx.save(mixed_model(image_size=16), tmp_path / "model.onnx")
    compile_model(tmp_path / "model.onnx", tmp_path / "build", protocol="paper")
    assert "operands.bin" not in json.loads((tmp_path / "build" / "manifest.json").read_bytes())["files"]
    assert "operands" not in check_build(tmp_path / "build").checks


def test_the_c_header_in_the_tree_is_the_one_that_the_table_generates() -> None:
    header = Path(operands.__file__).parents[1] / "hls" / "rrnet_operands.h"
    assert header.read_text() == operands.c_header()


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_the_c_structs_have_the_sizes_of_the_encoding(tmp_path: Path) -> None:
    sizes = {"rrnet_operands_header": operands.HEADER.size}
    sizes |= {record: operands.RECORDS[name].size for name, record, _ in operands.SECTIONS}
    checks = [f"static_assert(sizeof({name}) == {size});" for name, size in sizes.items()]
    source = tmp_path / "check.cpp"
    source.write_text("#include <rrnet_operands.h>\n" + "\n".join(checks) + "\nint main() {}\n")
    include = Path(operands.__file__).parents[1] / "hls"
    subprocess.run(["g++", "-std=c++17", "-fsyntax-only", f"-I{include}", str(source)], check=True)


def test_narrow_rings_have_no_table(tmp_path: Path) -> None:
    """Software parties can run such a build, the check passes, and a table is refused by naming the option."""
    onnx.save(mixed_model(16), tmp_path / "model.onnx")
    np.save(tmp_path / "images.npy", np.random.default_rng(0).uniform(-1, 1, (4, 3, 16, 16)).astype(np.float32))
    compile_model(
        tmp_path / "model.onnx",
        tmp_path / "build",
        protocol="masked",
        calibrate_with=tmp_path / "images.npy",
        ring="narrow",
    )
    assert not (tmp_path / "build" / "operands.bin").exists()
    assert "operands" not in check_build(tmp_path / "build").checks
    with pytest.raises(Refusal, match="compile with --ring 32"):
        operand_table(load_build(tmp_path / "build").program, [], get_costs("masked"), 1, bytes(32))
