"""Channels and branches of very different ranges keep their bits, and the error that is stated is not exceeded."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx

from rrnet_nni.fpga.compiler import compile_command as cli
from rrnet_nni.fpga.compiler.compile import DEFAULT_RING, Compilation, compile_graph, compile_program
from rrnet_nni.fpga.compiler.fixed_point.calibration import calibrate
from rrnet_nni.fpga.compiler.float_interpreter import run_float
from rrnet_nni.fpga.compiler.graph import Conv
from rrnet_nni.fpga.compiler.onnx.frontend import import_model, read_onnx
from rrnet_nni.fpga.compiler.passes import run_passes
from rrnet_nni.fpga.compiler.passes.equalize import CHANNEL_HEADROOM, WIDE_SPREAD, equalize
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import get_costs

CASES = Path(__file__).parent.parent / "onnx" / "cases"
WIDE = "channels_300", "concat_1000"


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 16, 16)).astype(np.float32)


def compiled(name: str, ring: str | None = None) -> Compilation:
    return compile_graph(
        read_onnx(CASES / f"{name}.onnx"), load_device("zcu104"), get_costs("beaver-ot"), images(16, 0), ring=ring
    )


@pytest.mark.parametrize("ring", [None, "narrow"])
@pytest.mark.parametrize("name", [*WIDE, "leaky", "hardswish", "se", "norm_inside"])
def test_held_out_images_lose_less_than_one_percent_and_no_more_than_is_stated(name, ring):
    result = compiled(name, ring)
    for seed in range(1, 4):
        wanted = run_onnx(onnx.load(CASES / f"{name}.onnx"), images(64, seed))
        found = run_reference(result.program, result.weights, images(64, seed)).reshape(wanted.shape)
        lost = np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2))
        assert lost < 0.01
        assert lost <= result.report["logits_error"]


@pytest.mark.parametrize("name", WIDE)
def test_equalizing_changes_no_number_of_the_model(name):
    graph, _ = run_passes(read_onnx(CASES / f"{name}.onnx"))
    scaled, calibration = equalize(graph, calibrate(graph, images(16, 0)))
    assert scaled is not graph
    np.testing.assert_allclose(run_float(scaled, images(8, 1)), run_float(graph, images(8, 1)), rtol=1e-4, atol=1e-6)
    again = calibrate(scaled, images(16, 0))
    for name, seen in calibration.seen.items():
        assert again.seen[name] == pytest.approx(seen, rel=1e-3), name


def test_scaled_channels_keep_more_headroom_than_the_widest():
    graph, _ = run_passes(read_onnx(CASES / "channels_300.onnx"))
    before = calibrate(graph, images(16, 0))
    scaled, after = equalize(graph, before)
    assert scaled.scales
    for name in (node.output for node in scaled.nodes if isinstance(node, Conv)):
        ranges = after.channels[name]
        raised = ranges > before.channels[name]
        assert (ranges[raised] <= before.seen[name] / CHANNEL_HEADROOM * (1 + 1e-6)).all()


def test_channels_within_one_range_are_left_alone():
    build = ModelBuilder((3, 16, 16))
    weight = (
        np.random.default_rng(0).normal(size=(4, 3, 3, 3)) * np.geomspace(1, WIDE_SPREAD / 4, 4)[:, None, None, None]
    )
    x = build.node("Conv", ["image", build.constant("w", weight)], "a", pads=[1] * 4)
    graph, _ = run_passes(import_model(build.model(build.conv(build.node("Relu", [x], "r"), "b", 4, 2)), "m"))
    calibration = calibrate(graph, images(16, 0))
    assert equalize(graph, calibration) == (graph, calibration)


def test_whole_words_are_the_default_and_lose_less():
    assert DEFAULT_RING == "32"
    whole, narrow = (compiled("leaky", ring).report["logits_error"] for ring in (None, "narrow"))
    assert whole < narrow


def test_narrow_rings_that_lose_more_than_a_percent_name_the_way_out(tmp_path, capsys):
    build = ModelBuilder((3, 16, 16))
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)) * np.geomspace(1e-3, 1, 8)[:, None, None, None]
    x = build.node("Conv", ["image", build.constant("w", weight)], "a", pads=[1] * 4)
    x = build.node("Clip", [x, build.constant("low", 0.0), build.constant("high", 60.0)], "r")
    last = np.random.default_rng(1).normal(size=(4, 8, 1, 1)) / np.geomspace(1e-3, 1, 8)[:, None, None]
    model = build.model(build.node("Conv", [x, build.constant("v", last)], "y"))
    onnx.save(model, tmp_path / "m.onnx")
    assert cli.main([str(tmp_path / "m.onnx"), "-o", str(tmp_path / "narrow"), "--ring", "narrow"]) == 0
    assert "--ring 32 keeps more" in capsys.readouterr().err
    assert compile_program(import_model(model, "m")).program.tensors["a"].ring_bits == 32


@pytest.mark.parametrize("operator", ["Gemm", "Conv"])
def test_a_channel_that_was_near_zero_in_a_few_images_does_not_overflow_in_others(operator):
    build = ModelBuilder((16, 1, 1), seed=3)
    if operator == "Gemm":
        x = build.gemm(build.node("Flatten", ["image"], "f"), "hidden", 16, 512)
        x = build.gemm(build.node("Relu", [x], "h"), "y", 512, 5)
    else:
        weights = np.random.default_rng(4).normal(size=(2, 512, 16)) / 4
        x = build.node("Conv", ["image", build.constant("inner", weights[0][..., None, None])], "hidden")
        last = build.constant("outer", weights[1].T[..., None, None])
        x = build.node("Flatten", [build.node("Conv", [build.node("Relu", [x], "h"), last], "z")], "y")
    model = build.model(x)
    pixels = np.random.default_rng(5).normal(size=(258, 16, 1, 1)).astype(np.float32)
    fixed = compile_program(import_model(model, "m"), pixels[:2])
    wanted = run_onnx(model, pixels[2:])
    lost = run_reference(fixed.program, fixed.weights, pixels[2:]).reshape(wanted.shape) - wanted
    assert np.sqrt(np.mean(lost**2)) < 0.005 * np.sqrt(np.mean(wanted**2))
