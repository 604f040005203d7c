"""A build knows its images: from the model, or from the file that is named beside a foreign one."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import METADATA_KEY, ImageFormat
from rrnet_nni.fpga.compiler import compile_command
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.program.build import load_build

IMAGES = ImageFormat(6, 8, "rgb", (0.5,) * 3, (0.25,) * 3, ("cat", "dog"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    builder = ModelBuilder((3, 6, 8))
    x = builder.node("GlobalAveragePool", [builder.conv("image", "conv", 3, 2)], "pool")
    path = tmp_path / "model.onnx"
    onnx.save(builder.model(builder.node("Flatten", [x], "logits")), path)
    return path


def test_a_foreign_model_knows_nothing_until_it_is_told(model: Path, tmp_path: Path) -> None:
    compile_model(model, tmp_path / "plain")
    assert load_build(tmp_path / "plain").images is None
    (tmp_path / "images.json").write_text(IMAGES.to_json())
    arguments = [str(model), "-o", str(tmp_path / "told"), "--preprocess", str(tmp_path / "images.json")]
    assert compile_command.main(arguments) == 0
    build = load_build(tmp_path / "told")
    assert build.images == IMAGES
    assert load_build(tmp_path / "told" / "client", weights=False).images == IMAGES
    assert build.program_digest == load_build(tmp_path / "plain").program_digest


def test_what_the_model_says_reaches_the_build_and_not_the_program(model: Path, tmp_path: Path) -> None:
    described = onnx.load(model)
    described.metadata_props.add(key=METADATA_KEY, value=IMAGES.to_json())
    onnx.save(described, model)
    compile_model(model, tmp_path / "build")
    assert load_build(tmp_path / "build").images == IMAGES
    assert METADATA_KEY not in json.loads((tmp_path / "build" / "report.json").read_text())["source"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            ImageFormat(8, 6, "rgb", (0.5,) * 3, (0.25,) * 3),
            r"describes images \[3, 8, 6\], and the model takes \[3, 6, 8\]",
        ),
        (
            ImageFormat(6, 8, "rgb", (0.5,) * 3, (0.25,) * 3, ("a", "b", "c")),
            "names 3 classes, and the model has 2 logits",
        ),
    ],
)
def test_a_description_of_another_network_is_refused(
    model: Path, tmp_path: Path, wrong: ImageFormat, words: str
) -> None:
    (tmp_path / "images.json").write_text(wrong.to_json())
    with pytest.raises(Refusal, match=words):
        compile_model(model, tmp_path / "build", images_file=tmp_path / "images.json")
    assert not (tmp_path / "build").exists()
