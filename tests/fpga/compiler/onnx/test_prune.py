"""What is multiplied by a constant zero is not there, even where it could not be compiled."""

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.networks.small_onnx_models import ModelBuilder

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.program.reference import run_reference

IMAGES = np.random.default_rng(2).normal(size=(4, 3, 4, 4)).astype(np.float32)


def gated(zero: float, *, operator: str = "Add", folded: bool = False, wide: bool = False) -> onnx.ModelProto:
    """relu(x) + zero * erf(x), the zero maybe computed, the ReLU maybe of one pixel that is broadcast."""
    build = ModelBuilder((3, 4, 4))
    gate = build.constant("gate", zero)
    if folded:
        gate = build.node("Sub", [build.constant("a", zero + 1.0), build.constant("b", 1.0)], "decided")
    lost = build.node("Mul", [gate, build.node("Erf", ["image"], "erf")], "lost")
    kept = build.node("GlobalMaxPool", ["image"], "pooled") if wide else "image"
    kept = build.node("Relu", [kept], "relu")
    terms = [lost, kept] if operator == "Add" else [kept, lost, kept]
    return build.model(build.node(operator, terms, "sum"))


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("operator", ["Add", "Sum"])
def test_an_operator_that_is_multiplied_by_zero_need_not_be_supported(operator: str, folded: bool) -> None:
    model = gated(0.0, operator=operator, folded=folded)
    fixed = compile_program(import_model(model, "m.onnx"), IMAGES)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"image": image[None]})[0] for image in IMAGES])
    np.testing.assert_allclose(run_reference(fixed.program, fixed.weights, IMAGES), wanted, atol=0.01)


@pytest.mark.parametrize("model", [gated(0.5), gated(0.5, folded=True), gated(0.0, wide=True)])
def test_it_must_be_supported_where_it_counts_or_gives_the_sum_its_shape(model: onnx.ModelProto) -> None:
    with pytest.raises(Refusal, match="Erf"):
        import_model(model, "m.onnx")
