"""One command leads from a build's instructions.bin to a waveform of the convolution tile."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from helpers.networks.small_onnx_models import mixed_model
from helpers.rtl_simulators import needs_verilator

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.hls.rtl.waveform import draw_waveform, find_product, main
from rrnet_nni.fpga.program.build import load_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("waveform")
    onnx.save(mixed_model(), directory / "model.onnx")
    compile_model(directory / "model.onnx", directory / "build", "zcu104-rrnet", "masked")
    return directory / "build"


@needs_verilator
def test_a_waveform_shows_the_first_product_and_its_cycles(build: Path, tmp_path: Path) -> None:
    cycles, formula = draw_waveform(find_product(load_build(build)), tmp_path / "wave.vcd")
    assert cycles == formula
    text = (tmp_path / "wave.vcd").read_text()
    assert "$enddefinitions" in text
    assert " sums_valid " in text


@needs_verilator
@pytest.mark.parametrize("weights", [True, False], ids=["server", "client without weights"])
def test_every_product_of_a_build_has_a_waveform(build: Path, tmp_path: Path, weights: bool) -> None:
    loaded = load_build(build, weights)
    names = [operation.name for operation in loaded.program.operations if operation.kind in ("conv", "linear")]
    products = [find_product(loaded, name) for name in names]
    assert any(product.conv.depthwise for product in products)
    for product in products:
        cycles, formula = draw_waveform(product, tmp_path / "wave.vcd")
        assert cycles == formula


@needs_verilator
def test_the_command_names_what_it_drew(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = next(operation.name for operation in load_build(build).program.operations if operation.kind == "linear")
    assert main([str(build), "--operation", name, "-o", str(tmp_path / "wave.vcd")]) == 0
    assert f"operation {name!r}, tile 0" in capsys.readouterr().out


@needs_verilator
def test_a_waveform_that_cannot_be_written_is_refused(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(build), "-o", str(tmp_path / "nowhere" / "wave.vcd")]) == 2
    assert "nowhere/wave.vcd cannot be written" in capsys.readouterr().err


def test_what_is_no_product_is_refused(build: Path) -> None:
    with pytest.raises(Refusal, match="no operation 'nowhere'"):
        find_product(load_build(build), "nowhere")
    with pytest.raises(Refusal, match="no operation has an ARRAY instruction for tile 9999"):
        find_product(load_build(build), tile=9999)
