"""Export: what onnxruntime computes from the file is what the network computes."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from rrnet_nni.architecture import Architecture
from rrnet_nni.base.image_format import ImageFormat, read_format
from rrnet_nni.cli import main
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.pixel_input import NODES, pixels_of_normalized
from rrnet_nni.reports.agreement import onnx_logits
from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices, x2act_modules
from rrnet_nni.trained import save_weights

IMAGES = ImageFormat(16, 16, "gray", (0.3,), (0.4,), tuple("0123456789"), task="digits")


def network(activation: str, pooling: str, **form: str) -> nn.Module:
    torch.manual_seed(3)
    options = SpaceOptions(image_size=16, channels=1, width=0.5, **form)
    built = build_network("resnet8", options, fixed_choices("resnet8", options, activation, pooling))
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    with torch.no_grad():
        for act in x2act_modules(built):
            for parameter in act.parameters():
                parameter.add_(0.2 * torch.rand_like(parameter) - 0.1)
            for buffer in act.buffers():
                buffer.add_(0.5 * torch.rand_like(buffer))
    return built.eval()


@pytest.mark.parametrize(
    ("activation", "pooling", "form"),
    [
        ("relu", "maxpool", {}),
        ("x2act", "avgpool", {}),
        ("x2act", "avgpool", {"x2act": "plain"}),
        ("x2act", "maxpool", {"x2act": "plain", "coefficients": "channel"}),
    ],
)
def test_onnxruntime_agrees_with_torch_for_any_batch(
    tmp_path: Path, activation: str, pooling: str, form: dict[str, str]
) -> None:
    built = network(activation, pooling, **form)
    path = tmp_path / "model.onnx"
    model = export_onnx(built, (1, 16, 16), path, IMAGES)
    images = torch.randn(5, 1, 16, 16)
    for batch in (1, 5):
        expected = built(images[:batch]).detach().numpy()
        assert np.allclose(onnx_logits(path, images[:batch].numpy()), expected, atol=1e-5)
    operators = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in operators
    assert ("X2act" in operators) == (activation == "x2act")
    assert ("Relu" in operators) == (activation == "relu")
    (entry,) = model.metadata_props
    assert read_format(entry.value, "the model") == IMAGES


def test_x2act_is_a_local_function_and_nodes_carry_the_names_of_modules(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(network("x2act", "avgpool"), (1, 16, 16), path)
    model = onnx.load(path)
    assert [(function.domain, function.name) for function in model.functions] == [("rrnet", "X2act")]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert names[:2] == ["stem.conv.norm", "stem.act"]
    assert {"stages.layer2.0.unit2.act", "stages.layer2.0.unit2.add", "classifier.linear"} <= set(names)
    assert [node.output[0] for node in model.graph.node] == [*names[:-1], "logits"]


def test_the_network_itself_is_left_as_it_was(tmp_path: Path) -> None:
    built = network("x2act", "avgpool").train()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    export_onnx(built, (1, 16, 16), tmp_path / "model.onnx")
    assert built.training
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        export_onnx(network("x2act", "maxpool"), (1, 16, 16), tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("activation", ["relu", "x2act"])
def test_the_layout_of_the_weights_does_not_reach_the_file(tmp_path: Path, activation: str) -> None:
    usual, other = network(activation, "avgpool"), network(activation, "avgpool")
    other.to(memory_format=torch.channels_last)
    for name, built in (("usual", usual), ("other", other)):
        export_onnx(built, (1, 16, 16), tmp_path / f"{name}.onnx")
    assert (tmp_path / "usual.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()


def test_a_network_that_takes_pixels_answers_as_it_does_to_normalized_images(tmp_path: Path) -> None:
    built = network("x2act", "avgpool")
    model = export_onnx(built, (1, 16, 16), tmp_path / "model.onnx", IMAGES, pixels=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 16, 16)).astype(np.uint8)
    expected = built(torch.from_numpy(IMAGES.normalized(pixels))).detach().numpy()
    assert np.allclose(onnx_logits(tmp_path / "model.onnx", pixels), expected, atol=1e-4)
    assert [node.name for node in model.graph.node][:3] == [*NODES, "stem.conv.norm"]
    (entry,) = model.metadata_props
    said = read_format(entry.value, "the model")
    assert (said.normalized(pixels) == pixels).all()
    assert said.classes == IMAGES.classes
    assert (pixels_of_normalized(IMAGES.normalized(pixels), IMAGES) == pixels).all()


def test_a_bound_of_contrast_goes_with_a_network_that_takes_pixels(tmp_path: Path) -> None:
    images = replace(IMAGES, contrast_bound=0.2)
    built = network("x2act", "avgpool")
    model = export_onnx(built, (1, 16, 16), tmp_path / "model.onnx", images, pixels=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 16, 16)).astype(np.uint8)
    assert pixels.std((1, 2, 3)).min() > 255 * 0.2
    said = read_format(model.metadata_props[0].value, "the model")
    taken = said.normalized(pixels)
    assert taken.std((1, 2, 3)).max() <= 255 * 0.2 < 1.01 * taken.std((1, 2, 3)).min()
    expected = built(torch.from_numpy(images.normalized(pixels))).detach().numpy()
    assert np.allclose(onnx_logits(tmp_path / "model.onnx", taken), expected, atol=1e-4)
    assert np.allclose(pixels_of_normalized(images.normalized(pixels), images), taken, atol=1e-3)


def test_its_build_takes_pixels_and_answers_the_same(tmp_path: Path) -> None:
    built = network("x2act", "avgpool")
    export_onnx(built, (1, 16, 16), tmp_path / "model.onnx", IMAGES, pixels=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 16, 16)).astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    compile_model(tmp_path / "model.onnx", tmp_path / "build", calibrate_with=tmp_path / "pixels.npy")
    build = load_build(tmp_path / "build")
    expected = onnx_logits(tmp_path / "model.onnx", pixels)
    found = run_reference(build.program, build.weights, pixels)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_the_command_writes_pixels_for_the_calibration_or_nothing_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = SpaceOptions(image_size=16, channels=1, width=0.5)
    choices = dict(fixed_choices("resnet8", options, "x2act", "avgpool"))
    Architecture("resnet8", options.to_dict(), choices, images=asdict(IMAGES)).save(tmp_path / "architecture.json")
    save_weights(network("x2act", "avgpool"), tmp_path / "weights.pt")
    arguments = ["export", str(tmp_path), "-o", str(tmp_path / "model.onnx"), "--pixels"]
    assert main(arguments) == 2
    assert f"{tmp_path}/calibration.npz: there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 1, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "calibration.npz", image=IMAGES.normalized(pixels))
    assert main(arguments) == 0
    with np.load(tmp_path / "model.calibration.npz") as written:
        assert (written["image"] == pixels).all()
