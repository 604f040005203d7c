"""Formats follow the size of the tensors: small values and far ceilings are computed right, or refused, never lost."""

from contextlib import suppress

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import FixedPoint, compile_program
from rrnet_nni.fpga.compiler.fixed_point.rings import NARROW, RINGS, WHOLE
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.program.check import check_program
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import executions
from rrnet_nni.fpga.runtime.session.conformance import first_divergence

IMAGES = np.random.default_rng(5).normal(size=(32, 3, 8, 8)).astype(np.float32)


def network(size: float, ceiling: float | None = None, branch: float = 1.0) -> onnx.ModelProto:
    """Convolution, ReLU or Clip, a residual branch, pooling and classifier; activations of about `size`."""
    build = ModelBuilder(IMAGES.shape[1:])
    x = build.node("Mul", ["image", build.constant("size", size)], "scaled")
    x = build.node("Conv", [x, build.constant("first.weight", build.generator.normal(size=(6, 3, 3, 3)) / 3)], "first")
    if ceiling is None:
        x = build.node("Relu", [x], "act")
    else:
        x = build.node("Clip", [x, build.constant("low", 0.0), build.constant("high", ceiling)], "act")
    y = build.node("Conv", [x, build.constant("w", branch * build.generator.normal(size=(6, 6, 1, 1)))], "branch")
    x = build.node("GlobalAveragePool", [build.node("Add", [x, y], "sum")], "pool")
    x = build.node("Flatten", [x], "flat")
    return build.model(build.node("MatMul", [x, build.constant("m", build.generator.normal(size=(6, 4)))], "logits"))


def fixed_point(model: onnx.ModelProto, ring: str) -> FixedPoint:
    return compile_program(import_model(model, "m"), IMAGES, ring=ring)


def relative_error(model: onnx.ModelProto, compiled: FixedPoint) -> float:
    wanted = run_onnx(model, IMAGES)
    found = run_reference(compiled.program, compiled.weights, IMAGES)
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("size", [1.0, 1e-2, 1e-4])
def test_small_activations_keep_their_significant_bits(size: float, ring: str) -> None:
    model = network(size)
    assert relative_error(model, fixed_point(model, ring)) < 0.02


@pytest.mark.parametrize(("size", "ring"), [(1.0, NARROW), (0.25, NARROW), (0.01, NARROW), (0.01, WHOLE)])
def test_a_ceiling_far_above_a_tensor_neither_refuses_nor_drowns_it(size: float, ring: str) -> None:
    model = network(size, ceiling=6.0)
    assert relative_error(model, fixed_point(model, ring)) < 0.05


@pytest.mark.parametrize("ring", RINGS)
def test_a_ceiling_stays_inside_the_ring(ring: str) -> None:
    model = network(1.0, ceiling=1e6)
    assert relative_error(model, fixed_point(model, ring)) < 0.05
    with pytest.raises(Refusal, match="tensor 'first' reaches"):
        fixed_point(network(1.0, ceiling=1e12), ring)


@pytest.mark.parametrize("size", [0.25, 0.01])
def test_parties_compare_small_tensors_with_a_far_ceiling_in_narrow_rings(size: float) -> None:
    compiled = fixed_point(network(size, ceiling=6.0), NARROW)
    assert first_divergence(compiled.program, compiled.weights, IMAGES[:2], executions()["masked"]) is None


@settings(max_examples=25, deadline=None)
@example(size=-3.5, branch=2.0, ring=WHOLE)  # a small summand that a convolution makes large
@given(size=st.floats(-7, 3), branch=st.floats(-7, 3), ring=st.sampled_from(RINGS))
def test_a_network_of_any_scale_is_right_or_refused(size: float, branch: float, ring: str) -> None:
    model = network(10.0**size, branch=10.0**branch)
    if branch > 1 or (size > 1 and ring == NARROW):
        with suppress(Refusal):
            assert relative_error(model, fixed_point(model, ring)) < 0.1
    else:
        compiled = fixed_point(model, ring)
        check_program(compiled.program)
        assert relative_error(model, compiled) < 0.1
