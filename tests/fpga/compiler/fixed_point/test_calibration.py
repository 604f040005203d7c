"""Calibration: what images without a file are assumed, which of them count, and how small a tensor typically is."""

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx

from rrnet_nni.fpga.compiler.compile import compile_graph, compile_program
from rrnet_nni.fpga.compiler.fixed_point.calibration import (
    DEFAULT_IMAGES,
    DEFAULT_RANGE,
    KINDS,
    UnfitRange,
    assumed_images,
    calibrate,
)
from rrnet_nni.fpga.compiler.graph import Graph
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import get_costs

NOISE = np.random.default_rng(7).normal(size=(16, 3, 32, 32)).astype(np.float32)


def blurring(squares: int) -> onnx.ModelProto:
    """Sums of windows, normalized on independent pixels as by a BatchNorm, and squares: smooth images grow and grow."""
    build = ModelBuilder(NOISE.shape[1:])
    weight = np.eye(3)[:, :, None, None] * np.full((7, 7), 1 / 7)
    x = build.node("Conv", ["image", build.constant("blur", weight)], "blurred")
    for place in range(squares):
        x = build.node("Mul", [x, x], f"square{place}")
    pooled = build.node("Flatten", [build.node("GlobalAveragePool", [x], "pool")], "flat")
    return build.model(build.gemm(pooled, "logits", 3, 4))


def imported(squares: int) -> Graph:
    return import_model(blurring(squares), "m")


def sharpness(images: np.ndarray) -> np.ndarray:
    """Root mean square of the difference between neighbours, by that of the pixels."""
    steps = np.diff(images, axis=3)
    return np.sqrt((steps**2).mean(axis=(1, 2, 3)) / (images**2).mean(axis=(1, 2, 3)))


def test_assumed_images_are_of_each_kind_in_turn_so_that_the_first_few_are_of_all() -> None:
    images = assumed_images(imported(1))
    assert len(images) == DEFAULT_IMAGES
    assert np.abs(images).max() == DEFAULT_RANGE
    smooth, noisy = (sharpness(images[place :: len(KINDS)]) for place in range(2))
    assert smooth.max() < 0.8 < 1.2 < noisy.min()


def test_images_on_which_a_network_explodes_do_not_count_and_are_named() -> None:
    model = blurring(2)
    result = compile_graph(import_model(model, "m"), load_device("zcu104"), get_costs("beaver-ot"))
    assert result.calibration.left_out == "smooth"
    assert result.calibration.images == DEFAULT_IMAGES // 2
    assert result.report["calibration"]["assumed_images_left_out"] == "smooth"
    found, wanted = run_reference(result.program, result.weights, NOISE), run_onnx(model, NOISE)
    lost = np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2))
    assert lost < 0.01
    assert lost < result.report["logits_error"]


def test_both_kinds_count_where_neither_explodes() -> None:
    calibration = calibrate(imported(0), None)
    assert calibration.left_out is None
    assert calibration.images == DEFAULT_IMAGES


def test_images_that_are_given_count_whatever_they_do() -> None:
    graph = imported(2)
    images = assumed_images(graph)
    assert calibrate(graph, images).left_out is None
    assert calibrate(graph, images).seen["square1"] > 64 * calibrate(graph, None).seen["square1"]
    images[2] = 3e37
    with pytest.raises(UnfitRange, match="on calibration image 2"):
        calibrate(graph, images)


def test_what_is_typical_is_the_size_of_the_smaller_images() -> None:
    images = np.concatenate([100 * NOISE[:8], NOISE[8:]])
    assert calibrate(imported(1), images).typical("image") == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("factor", [1.0, 500.0])
def test_rare_images_that_reach_far_cost_the_others_little(factor: float) -> None:
    """What a product's budget holds is shared by what rounding costs small images, not by how far large ones reach."""
    build = ModelBuilder(NOISE.shape[1:])
    x = build.node("Relu", [build.conv("image", "a", 3, 16)], "r")
    x = build.node("Relu", [build.conv(x, "b", 16, 16)], "s")
    pooled = build.node("Flatten", [build.node("GlobalAveragePool", [x], "p")], "f")
    model = build.model(build.gemm(pooled, "logits", 16, 10))
    images = np.concatenate([NOISE[:7], factor * NOISE[7:8]])
    fixed = compile_program(import_model(model, "m"), images)
    found, wanted = run_reference(fixed.program, fixed.weights, NOISE[8:]), run_onnx(model, NOISE[8:])
    assert np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2)) < 0.01


def test_the_stated_error_holds_for_small_images_among_large_ones() -> None:
    build = ModelBuilder(NOISE.shape[1:])
    x = build.node("Relu", [build.conv("image", "a", 3, 16)], "r")
    pooled = build.node("Flatten", [build.node("GlobalAveragePool", [x], "p")], "f")
    weight = build.constant("m", build.generator.normal(size=(16, 10)))
    model = build.model(build.node("MatMul", [pooled, weight], "logits"))
    images = np.concatenate([100 * NOISE[:2], NOISE[2:8]])
    result = compile_graph(import_model(model, "m"), load_device("zcu104"), get_costs("beaver-ot"), images)
    found, wanted = run_reference(result.program, result.weights, NOISE[8:]), run_onnx(model, NOISE[8:])
    lost = np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2))
    assert lost <= result.report["logits_error"] < 4 * lost


def test_a_shortcut_keeps_its_bits_where_the_sum_is_truncated_anyway() -> None:
    """The second block reaches far, which is no reason to round what the first one's convolution reads."""
    build = ModelBuilder(NOISE.shape[1:])
    x = build.node("Relu", [build.conv("image", "first", 3, 8)], "r")
    far = build.node("Conv", [x, build.constant("far", 200 * build.generator.normal(size=(8, 8, 1, 1)))], "branch")
    total = build.node("Add", [x, far], "sum")
    model = build.model(
        build.gemm(build.node("Flatten", [build.node("GlobalAveragePool", [total], "p")], "f"), "y", 8, 4)
    )
    fixed = compile_program(import_model(model, "m"), NOISE)
    bits = {name: fixed.program.tensor(name).fraction_bits for name in ("r", "sum")}
    assert bits["sum"] < bits["r"]
