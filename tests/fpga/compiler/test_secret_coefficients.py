"""Numbers of polynomials that stay secret: what the client's part tells, what it costs, that results stay right."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, mixed_model, run_onnx

from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.compile import compile_model, compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
from rrnet_nni.fpga.program import SquareOp
from rrnet_nni.fpga.program.build import CLIENT, load_build
from rrnet_nni.fpga.program.public_numbers import public_numbers
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import executions, preparations
from rrnet_nni.fpga.runtime.session.conformance import disagreement, preparation_mismatch


def polynomial_model(numbers, shape=(3, 6, 6)):
    """X2act per layer on images and on features, and a polynomial with numbers per channel behind padding and sums."""
    build = ModelBuilder(shape, seed=4)
    x = build.x2act(build.conv("image", "conv0", shape[0], 4), "act0", *numbers)
    y = build.conv(x, "conv1", 4, 4)
    factor = build.constant("slopes", (numbers[0] * np.arange(1, 5)).reshape(4, 1, 1))
    y = build.node("Add", [build.node("Mul", [build.node("Mul", [y, y], "yy"), factor], "kyy"), y], "polynomial")
    x = build.node("Add", [x, y], "sum")
    x = build.node("Flatten", [build.node("GlobalAveragePool", [x], "gap")], "flat")
    x = build.x2act(build.gemm(x, "hidden", 4, 6), "act1", *numbers)
    return build.model(build.gemm(x, "logits", 6, 5))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(8).normal(size=(8, 3, 6, 6)).astype(np.float32)


def fixed_point(model, images, tmp_path, ring="32", secret=True):
    onnx.save(model, tmp_path / "model.onnx")
    graph = replace(read_onnx(tmp_path / "model.onnx"), secret_coefficients=secret)
    return compile_program(graph, images, ring=ring)


@pytest.mark.parametrize("ring", ["32", "narrow"])
@pytest.mark.parametrize("name", executions())
def test_every_protocol_computes_the_reference_and_sends_what_is_predicted(name, ring, images, tmp_path):
    fixed = fixed_point(polynomial_model((0.05, 0.9, 0.1)), images, tmp_path, ring)
    execution = executions()[name]
    assert disagreement(fixed.program, fixed.weights, images[:2], execution) is None
    if name in preparations():
        assert preparation_mismatch(fixed.program, 1, execution) is None


@pytest.mark.parametrize("ring", ["32", "narrow"])
def test_the_logits_are_as_near_to_floating_point_as_with_public_numbers(ring, tmp_path):
    model, images = mixed_model(), np.random.default_rng(2).normal(size=(8, 3, 16, 16)).astype(np.float32)
    expected = run_onnx(model, images)
    errors = {}
    for secret in (False, True):
        fixed = fixed_point(model, images, tmp_path, ring, secret)
        logits = run_reference(fixed.program, fixed.weights, images)
        errors[secret] = np.sqrt(np.mean((logits - expected) ** 2) / np.mean(expected**2))
    assert errors[True] < max(2 * errors[False], 0.002)


def test_models_that_differ_in_their_polynomials_alone_have_the_same_client_part(images, tmp_path):
    parts = []
    np.save(tmp_path / "images.npy", images)
    for place, numbers in enumerate([(0.05, 0.9, 0.1), (0.0497, 0.897, 0.1003)]):
        onnx.save(polynomial_model(numbers), tmp_path / "model.onnx")
        build = tmp_path / f"build{place}"
        compile_model(tmp_path / "model.onnx", build, calibrate_with=tmp_path / "images.npy", secret_coefficients=True)
        parts.append({file.name: file.read_bytes() for file in (build / CLIENT).iterdir()})
        check_build(build)
        loaded = load_build(build)
        assert public_numbers(loaded.program, loaded.report)["coefficients"] == {}
        assert sum(isinstance(each, SquareOp) for each in loaded.program.operations) == 3
    assert parts[0] == parts[1]


def test_without_the_option_the_numbers_are_public_and_listed(images, tmp_path):
    fixed = fixed_point(polynomial_model((0.05, 0.9, 0.1)), images, tmp_path, secret=False)
    listed = public_numbers(fixed.program, {})
    assert len(listed["coefficients"]) == 3
    scaled = {name for name, tensor in fixed.program.tensors.items() if set(tensor.scale) != {1.0}}
    assert scaled == set(listed["scales"])
    assert len(scaled) >= 3  # the squares' coefficients lie in them
