"""The accelerator's C++ beyond what one compiler accepts: warnings, the fabric's side of it, the vendor's own types."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from helpers.networks.small_onnx_models import mixed_model
from helpers.simulated_builds import compiled, images_for, prepared

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.hls import recording
from rrnet_nni.fpga.hls.config import config_header
from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.hls.simulator import SOURCES, WARNINGS, build_simulator, find_cxx
from rrnet_nni.fpga.program.reference import encode_images

pytestmark = pytest.mark.skipif(find_cxx() is None, reason="there is no C++ compiler for the accelerator's sources")


def vendor_types() -> Path | None:
    """The vendor's published ap_types headers, which hls4ml carries."""
    found = importlib.util.find_spec("hls4ml")
    return None if found is None or found.origin is None else Path(found.origin).parent / "templates/vivado/ap_types"


needs_vendor_types = pytest.mark.skipif(
    vendor_types() is None, reason="there are no ap_types headers: pip install --no-deps hls4ml"
)


def warnings_of(folder: Path, patterns: list[str], *options: str) -> str:
    (folder / "rrnet_config.h").write_text(config_header(load_device("zcu104-rrnet")))
    includes = [f"-I{path}" for path in (folder, SOURCES, SOURCES / "src", SOURCES / "testbench")]
    sources = [str(path) for pattern in patterns for path in sorted(SOURCES.glob(pattern))]
    command = [str(find_cxx()), "-std=c++14", "-fsyntax-only", *WARNINGS, *options, *includes, *sources]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_no_source_has_a_warning(tmp_path: Path) -> None:
    assert warnings_of(tmp_path, ["src/*.cpp", "testbench/*.cpp"]) == ""


def test_the_side_of_the_fabric_needs_nothing_of_the_simulation(tmp_path: Path) -> None:
    """With the macro that synthesis defines: no virtual function, and no question how much a stream holds."""
    assert warnings_of(tmp_path, ["src/*.cpp"], "-D__SYNTHESIS__") == ""


def test_types_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"holds no ap_int\.h"):
        build_simulator(load_device("zcu104"), "vectors", types=tmp_path)


@needs_vendor_types
def test_kernels_compute_the_same_with_the_types_of_the_vendor() -> None:
    request = "block 000102030405060708090a0b0c0d0e0f 00112233445566778899aabbccddeeff\n"
    request += "compare " + " ".join(["5a" * 16, "17" * 16, "e1" * 16, "c3" * 400, "123456789"]) + "\n"
    answers = [
        subprocess.run(
            [build_simulator(load_device("zcu104"), "vectors", types=types)],
            input=request,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for types in (None, vendor_types())
    ]
    assert answers[0].startswith("69c4e0d86a7b0430d8cdb78070b4c55a\n")
    assert answers[0] == answers[1]


@needs_vendor_types
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["beaver-ot", "masked", "masked-dcf"])
def test_a_recorded_accelerator_runs_with_the_types_of_the_vendor(tmp_path: Path, protocol: str) -> None:
    build = compiled(tmp_path / "model", mixed_model(16), protocol)
    words = encode_images(build.program, images_for(build, 1))
    simulate_accelerators(build, words, prepared(build, tmp_path / "material", 1), record=tmp_path / "record")
    for party in ("0", "1"):
        folder = str(tmp_path / "record" / f"party{party}")
        assert recording.main([folder, "--party", party, "--types", str(vendor_types())]) == 0
