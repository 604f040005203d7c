"""The ends of a quantized model's integers: computed where images reach them, and left out where they do not."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.networks.small_onnx_models import ModelBuilder
from onnx import helper, numpy_helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import FixedPoint, compile_program
from rrnet_nni.fpga.compiler.fixed_point.saturation import keep_saturation
from rrnet_nni.fpga.compiler.onnx.frontend import import_model, read_onnx
from rrnet_nni.fpga.program import ReluOp
from rrnet_nni.fpga.program.reference import run_reference

QDQ = Path(__file__).parents[1] / "onnx" / "cases" / "qdq.onnx"
GENERATOR = np.random.default_rng(5)
IMAGES = GENERATOR.normal(size=(16, 3, 16, 16)).astype(np.float32)


def quantized(scale: object, zero: object, *, bypass: bool = False) -> onnx.ModelProto:
    """The image, rounded to integers and back, and with `bypass` added to itself."""
    build = ModelBuilder((3, 16, 16))
    build.initializers += [numpy_helper.from_array(np.asarray(scale, np.float32), "scale")]
    build.initializers += [numpy_helper.from_array(np.asarray(zero), "zero")]
    build.nodes += [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], name="dq"),
    ]
    if bypass:
        build.nodes.append(helper.make_node("Add", ["image", "y"], ["z"], name="add"))
    return build.model("z" if bypass else "y")


def onnx_outputs(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: image[None]})[0] for image in images])


def comparisons(fixed: FixedPoint) -> int:
    tensors = fixed.program.tensors
    return sum(tensors[each.output].elements for each in fixed.program.operations if isinstance(each, ReluOp))


def relative_error(fixed: FixedPoint, wanted: np.ndarray, images: np.ndarray) -> float:
    logits = run_reference(fixed.program, fixed.weights, images).reshape(wanted.shape)
    return float(np.sqrt(np.mean((logits - wanted) ** 2) / np.mean(wanted**2)))


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize(
    ("scale", "zero", "compared"),
    [
        (1 / 64, np.uint8(0), 1),  # 0 to 4: hardly a number is larger
        (1 / 256, np.uint8(0), 2),  # 0 to 1: a clip takes two
        (1 / 64, np.int8(0), 2),
        (1 / 64, np.uint8(250), 1),  # from -3.9 nothing is lost, from 0.08 up everything
        (1 / 64, np.int8(-120), 1),
        (1 / 16, np.int8(0), 0),
    ],
)
def test_values_are_cut_off_at_the_ends_that_images_reach(
    scale: float, zero: np.ndarray, compared: int, bypass: bool
) -> None:
    model = quantized(scale, zero, bypass=bypass)
    fixed = compile_program(import_model(model, "m.onnx"), IMAGES)
    wanted = onnx_outputs(model, IMAGES)
    assert relative_error(fixed, wanted, IMAGES) < 0.02
    assert comparisons(fixed) == compared * 3 * 16 * 16


def test_a_quantized_network_costs_its_layers_where_calibration_stays_inside_of_its_integers() -> None:
    images = 0.5 * IMAGES
    fixed = compile_program(read_onnx(QDQ), images)
    assert comparisons(fixed) == 3072
    assert relative_error(fixed, onnx_outputs(onnx.load(QDQ), images), images) < 0.01


@pytest.mark.parametrize("size", [1, 4, 40])
def test_a_quantized_network_is_right_on_what_it_is_calibrated_with_however_far_that_reaches(size: float) -> None:
    images = size * IMAGES
    fixed = compile_program(read_onnx(QDQ), images)
    assert relative_error(fixed, onnx_outputs(onnx.load(QDQ), images), images) < 0.02


def test_without_calibration_images_a_quantized_network_is_right_on_those_of_its_own_range() -> None:
    fixed = compile_program(read_onnx(QDQ))
    images = IMAGES.clip(-3, 3)
    assert relative_error(fixed, onnx_outputs(onnx.load(QDQ), images), images) < 0.01


def test_ends_that_differ_between_channels_are_refused_where_images_reach_them() -> None:
    wide = np.array([1, 2, 3]) / 16
    zeros = np.zeros(3, np.int8)
    assert keep_saturation(import_model(quantized(wide, zeros), "m.onnx"), IMAGES).reaches == {}
    with pytest.raises(Refusal, match="one scale per tensor"):
        keep_saturation(import_model(quantized(wide / 16, zeros), "m.onnx"), IMAGES)
