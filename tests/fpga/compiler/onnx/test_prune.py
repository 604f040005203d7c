"""What is multiplied by a constant zero is not there, even where it could not be compiled."""

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.networks.small_onnx_models import ModelBuilder
from onnx import TensorProto, helper, numpy_helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.program.reference import run_reference

IMAGES = np.random.default_rng(2).normal(size=(4, 3, 4, 4)).astype(np.float32)


def gated(zero: float, *, operator: str = "Add", folded: bool = False, wide: bool = False) -> onnx.ModelProto:
    """relu(x) + zero * sin(x), the zero maybe computed, the ReLU maybe of one pixel that is broadcast."""
    build = ModelBuilder((3, 4, 4))
    gate = build.constant("gate", zero)
    if folded:
        gate = build.node("Sub", [build.constant("a", zero + 1.0), build.constant("b", 1.0)], "decided")
    lost = build.node("Mul", [gate, build.node("Sin", ["image"], "sin")], "lost")
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
    with pytest.raises(Refusal, match="Sin"):
        import_model(model, "m.onnx")


def branched(condition: bool | None, *, inner_constant: bool = True) -> onnx.ModelProto:
    """relu(x) + 1 if the condition holds, else x · x; where it is None, whether x has three channels decides."""
    build = ModelBuilder((3, 4, 4))
    decided = "condition"
    if condition is None:
        build.initializers += [numpy_helper.from_array(np.array(value), f"n{value}") for value in (1, 3)]
        channels = build.node("Gather", [build.node("Shape", ["image"], "shape"), "n1"], "channels")
        decided = build.node("Equal", [channels, "n3"], "condition")
    else:
        build.initializers.append(numpy_helper.from_array(np.array([condition]), decided))
    made = [onnx.ValueInfoProto(name="made")]
    one = [numpy_helper.from_array(np.ones(1, np.float32), "one")]
    sums = [helper.make_node("Relu", ["image"], ["r"]), helper.make_node("Add", ["r", "one"], ["made"])]
    then = helper.make_graph(sums, "then", [], made, one if inner_constant else [])
    otherwise = helper.make_graph([helper.make_node("Mul", ["image", "image"], ["made"])], "otherwise", [], made)
    if not inner_constant:
        build.initializers += one
    return build.model(build.node("If", [decided], "y", then_branch=then, else_branch=otherwise))


@pytest.mark.parametrize("inner_constant", [False, True])
@pytest.mark.parametrize("condition", [False, True, None])
def test_an_if_whose_condition_is_constant_is_its_branch(condition: bool | None, inner_constant: bool) -> None:
    model = branched(condition, inner_constant=inner_constant)
    fixed = compile_program(import_model(model, "m.onnx"), IMAGES)
    found = run_reference(fixed.program, fixed.weights, IMAGES)
    wanted = IMAGES**2 if condition is False else np.maximum(IMAGES, 0) + 1
    np.testing.assert_allclose(found, wanted, atol=0.02)


def test_two_decided_ifs_whose_branches_share_names_stay_apart() -> None:
    model = branched(True)
    again = onnx.NodeProto()
    again.CopyFrom(model.graph.node[-1])
    again.input[0], again.output[0], again.name = "other", "z", "again"
    branch = next(each.g for each in again.attribute if each.name == "then_branch")
    branch.initializer[0].CopyFrom(numpy_helper.from_array(np.full(1, 5, np.float32), "one"))
    model.graph.node.insert(0, again)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "other"))
    model.graph.node.append(helper.make_node("Add", ["y", "z"], ["both"]))
    model.graph.output[0].name = "both"
    fixed = compile_program(import_model(model, "m.onnx"), IMAGES)
    found = run_reference(fixed.program, fixed.weights, IMAGES)
    np.testing.assert_allclose(found, 2 * np.maximum(IMAGES, 0) + 6, atol=0.02)


def test_an_if_that_the_image_decides_is_refused() -> None:
    model = branched(True)
    del model.graph.initializer[:]
    model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["condition"], to=TensorProto.BOOL))
    with pytest.raises(Refusal, match=r"\(If\).*without control flow"):
        import_model(model, "m.onnx")
