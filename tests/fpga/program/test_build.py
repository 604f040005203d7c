import json
from pathlib import Path

import numpy as np
import pytest

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.program import Constant, LinearOp, Program, ReluOp, Tensor
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.write_build import write_build

PROGRAM = Program(
    name="tiny",
    input="image",
    output="logits",
    tensors={
        "image": Tensor("image", (4,), 8),
        "hidden": Tensor("hidden", (4,), 8),
        "logits": Tensor("logits", (2,), 16),
    },
    constants={"fc.weight": Constant("fc.weight", (2, 4), 8, 0), "fc.bias": Constant("fc.bias", (2,), 16, 32)},
    operations=(
        ReluOp("act", ("image",), "hidden"),
        LinearOp("fc", ("hidden",), "logits", weight="fc.weight", bias="fc.bias"),
    ),
)
WEIGHTS = {"fc.weight": np.arange(-4, 4, dtype=np.int32).reshape(2, 4), "fc.bias": np.array([5, -7], np.int32)}
REPORT = {"device": "zcu104", "protocol": "beaver-ot"}


def test_a_build_reads_back_as_it_was_written(tmp_path: Path) -> None:
    build = load_build(write_build(tmp_path / "build", PROGRAM, WEIGHTS, REPORT, {"trace.json": b"[]"}))
    assert build.program == PROGRAM
    assert (build.device_name, build.protocol_name) == ("zcu104", "beaver-ot")
    assert {name: words.tolist() for name, words in build.weights.items()} == {
        name: words.tolist() for name, words in WEIGHTS.items()
    }


def test_a_client_reads_a_build_without_weights(tmp_path: Path) -> None:
    path = write_build(tmp_path / "build", PROGRAM, WEIGHTS, REPORT)
    (path / "weights.bin").unlink()
    assert load_build(path, weights=False).weights == {}
    with pytest.raises(Refusal, match=r"weights\.bin"):
        load_build(path)


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_two_builds_have_identical_bytes(tmp_path: Path) -> None:
    first = write_build(tmp_path / "a", PROGRAM, WEIGHTS, REPORT)
    second = write_build(tmp_path / "deep" / "b", PROGRAM, WEIGHTS, REPORT)
    assert contents(first) == contents(second)


def test_a_build_replaces_a_build_and_nothing_else(tmp_path: Path) -> None:
    path = write_build(tmp_path / "build", PROGRAM, WEIGHTS, REPORT, {"old.txt": b"old"})
    write_build(path, PROGRAM, WEIGHTS, REPORT)
    assert not (path / "old.txt").exists()
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "cat.png").write_bytes(b"cat")
    with pytest.raises(Refusal, match="photos exists and is not a build"):
        write_build(precious, PROGRAM, WEIGHTS, REPORT)
    with pytest.raises(Refusal, match="not a directory"):
        write_build(precious / "cat.png", PROGRAM, WEIGHTS, REPORT)
    assert (precious / "cat.png").read_bytes() == b"cat"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build", "photos"]


@pytest.mark.parametrize("name", ["logits.npy", "client/photo.jpg"])
def test_what_is_not_the_builds_is_not_taken_away_with_it(tmp_path: Path, name: str) -> None:
    path = write_build(tmp_path / "build", PROGRAM, WEIGHTS, REPORT, {"trace.json": b"[]"})
    (path / name).write_bytes(b"mine")
    with pytest.raises(Refusal, match=f"holds {name}, which a new build would delete"):
        write_build(path, PROGRAM, WEIGHTS, REPORT)
    assert (path / name).read_bytes() == b"mine"
    (path / name).unlink()
    write_build(path, PROGRAM, WEIGHTS, REPORT)


def test_a_failed_write_leaves_no_partial_build_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = write_build(tmp_path / "build", PROGRAM, WEIGHTS, REPORT)
    before = (path / "manifest.json").read_bytes()
    with pytest.raises(ExecutionFault, match="cannot be written"):
        write_build(path, PROGRAM, WEIGHTS, REPORT, {"no/such/directory": b""})
    assert (path / "manifest.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["build"]


@pytest.mark.parametrize("name", ["program.json", "weights.bin", "report.json"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = write_build(tmp_path / "build", PROGRAM, WEIGHTS, REPORT)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(Refusal, match=name):
        load_build(path)


def test_a_directory_that_is_not_a_build_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="not a build directory"):
        load_build(tmp_path)
    path = write_build(tmp_path / "build", PROGRAM, WEIGHTS, REPORT)
    manifest = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(Refusal, match="schema 99"):
        load_build(path)
