"""Small models of many exporters: each gives onnxruntime's outputs, compared and sent as little as it should be."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.compile import Compilation, compile_graph, compile_model, compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model, read_onnx
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.heads import apply_head
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import get_costs, get_execution
from rrnet_nni.fpga.runtime.session.conformance import disagreement

CASES = Path(__file__).parent / "cases"
#: Model -> ReLU comparisons of one image, by its layers: 8 * 16 * 16 are 2048.
RIGHT = {
    "add_pixel_constant": 2048,
    "argmax": 2048,
    "flatten2_mean": 2048,
    "keras-flat-13-nchw": 4352,
    "keras-flat-13-nhwc": 4352,
    "keras-gap-13-nhwc": 4352,
    "mean3_mean2": 2048,
    "pixel_mask": 1055,
    "shortcut_slice_pad": 3072,
    "slice_channels": 2048,
    "split": 2048,
    "squeeze_one_by_one": 2048,
    "sum_scale": 2048,
    "uint8": 2048,
    "unsqueeze_back": 2048,
    "unused_head": 2048,
    "unused_softmax": 2048,
    "weight_only_int8": 3072,
    "decided_gate_poly": 0,
}
#: Spellings of one network: convolution, ReLU, global mean, linear layer.
SAME_POOLING = ("flatten2_mean", "mean3_mean2", "squeeze_one_by_one", "sum_scale", "unsqueeze_back", "unused_softmax")


def compiled(name: str, protocol: str = "beaver-ot") -> Compilation:
    return compile_graph(read_onnx(CASES / f"{name}.onnx"), load_device("zcu104"), get_costs(protocol))


def images_for(fixed: Compilation, count: int) -> np.ndarray:
    shape = (count, *fixed.graph.shapes[fixed.graph.input])
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, shape) if fixed.graph.pixels else generator.normal(size=shape).clip(-3, 3)


def onnx_outputs(name: str, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(CASES / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    kind = np.uint8 if "uint8" in entry.type else np.float32
    step = entry.shape[0] if isinstance(entry.shape[0], int) else len(images)
    parts = [images[first : first + step].astype(kind) for first in range(0, len(images), step)]
    return np.concatenate([session.run(None, {entry.name: part})[0] for part in parts]).astype(np.float64)


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked"])
@pytest.mark.parametrize("name", RIGHT)
def test_a_model_gives_what_onnxruntime_gives_for_the_comparisons_of_its_layers(name: str, protocol: str) -> None:
    found = compiled(name, protocol)
    images = images_for(found, 4)
    wanted = onnx_outputs(name, images)
    logits = run_reference(found.program, found.weights, images.astype(np.float64))
    outputs = apply_head(logits, found.program.head).reshape(wanted.shape)
    assert np.sqrt(np.mean((outputs - wanted) ** 2)) < 0.01 * np.sqrt(np.mean(wanted**2))
    assert found.report["comparisons"] == RIGHT[name]


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked"])
@pytest.mark.parametrize("name", ["keras-flat-13-nhwc", "pixel_mask", "shortcut_slice_pad", "split"])
def test_two_parties_agree_with_the_reference_and_send_what_is_predicted(name: str, protocol: str) -> None:
    found = compiled(name, protocol)
    images = images_for(found, 2)
    assert disagreement(found.program, found.weights, images, get_execution(protocol)) is None


@pytest.mark.parametrize("name", ["split", "shortcut_slice_pad", "pixel_mask", "keras-gap-13-nhwc", "concat_55"])
def test_a_build_with_picked_words_keeps_every_rule(tmp_path: Path, name: str) -> None:
    compile_model(CASES / f"{name}.onnx", tmp_path / "build")
    check_build(tmp_path / "build")


def test_spellings_of_one_pooling_send_the_same_bytes() -> None:
    assert len({tuple(compiled(name).report["bytes_sent"]) for name in SAME_POOLING}) == 1


def test_picks_of_channels_and_pixels_send_nothing() -> None:
    for name in ("split", "slice_channels", "shortcut_slice_pad", "keras-flat-13-nhwc", "pixel_mask"):
        rows = [row for row in compiled(name).report["traffic"] if row["kind"] == "pick"]
        assert rows
        assert all(row["bytes_sent"] == [0, 0] and row["rounds"] == 0 for row in rows)


def test_a_gate_that_onehot_decides_costs_what_its_winner_costs() -> None:
    kinds = [operation.kind for operation in compiled("decided_gate_onehot").program.operations]
    assert "relu" not in kinds
    assert kinds.count("square") == 1


def test_only_the_refused_operator_is_named_and_not_the_shape_arithmetic_behind_it() -> None:
    model = onnx.load(CASES / "view_behind_leaky.onnx")
    next(node for node in model.graph.node if node.op_type == "LeakyRelu").op_type = "LRN"
    with pytest.raises(Refusal) as refusal:
        import_model(model, "m.onnx")
    assert str(refusal.value).count("node ") == 1
    assert "(LRN): this operator is not supported; train with BatchNormalization instead" in str(refusal.value)


def test_the_head_is_left_to_whoever_learns_the_logits() -> None:
    found = compiled("argmax")
    assert found.program.head == ("argmax",)
    assert found.report["head"] == ["argmax"]
    assert compile_program(read_onnx(CASES / "unused_softmax.onnx")).program.head == ()


def test_two_processes_answer_with_what_the_head_makes_of_the_logits(tmp_path: Path) -> None:
    build = tmp_path / "build"
    found = compile_model(CASES / "argmax.onnx", build)
    images = images_for(found, 2)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-m", "rrnet_nni.fpga.runtime.commands.run", str(build)]
    arguments = ["--input", str(tmp_path / "images.npy"), "--output", str(tmp_path / "out.npy"), "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["head"] == ["argmax"]
    wanted = onnx_outputs("argmax", images).reshape(-1).tolist()
    assert answer["outputs"] == wanted == np.load(tmp_path / "out.npy").tolist()
    assert np.shape(answer["logits"]) == (2, 10)
