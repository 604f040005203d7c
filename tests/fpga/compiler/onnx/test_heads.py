"""The head of a classifier: what whoever learns the logits applies is what the model says, or is refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.networks.small_onnx_models import ModelBuilder
from onnx import TensorProto

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.program.heads import apply_head
from rrnet_nni.fpga.program.reference import run_reference

IMAGES = np.random.default_rng(2).normal(size=(6, 3, 1, 1)).astype(np.float32)


def headed(*nodes: tuple[str, dict[str, int]], opset: int = 17, flat: bool = True) -> onnx.ModelProto:
    """Three classes of an image of one pixel, [N, 3] or [N, 3, 1, 1], then the nodes one after another."""
    build = ModelBuilder((3, 1, 1))
    x = build.node("Mul", ["image", build.constant("size", 2.0)], "logits")
    if flat:
        x = build.node("Flatten", [x], "flat")
    for place, (operator, given) in enumerate(nodes):
        x = build.node(operator, [x], f"head{place}", **given)
    model = build.model(x)
    model.opset_import[0].version = opset
    if nodes[-1][0] == "ArgMax":
        model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("given", [{}, {"axis": 1}, {"axis": -1}, {"axis": -3}, {"axis": 0}, {"axis": 3}])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "ArgMax"])
def test_a_head_gives_what_onnxruntime_gives_or_is_refused(
    operator: str, given: dict[str, int], flat: bool, opset: int
) -> None:
    model = headed((operator, given), opset=opset, flat=flat)
    rank, default = 2 if flat else 4, 0 if operator == "ArgMax" else -1 if opset >= 13 else 1
    axis = given.get("axis", default)
    if not -rank <= axis < rank or axis % rank != 1:
        with pytest.raises(Refusal, match=f"{operator}.*along axis {axis}"):
            import_model(model, "m.onnx")
        return
    fixed = compile_program(import_model(model, "m.onnx"), IMAGES)
    found = apply_head(run_reference(fixed.program, fixed.weights, IMAGES), fixed.program.head)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"image": image[None]})[0] for image in IMAGES])
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=0.01)


def test_an_operator_inside_the_network_is_no_head() -> None:
    build = ModelBuilder((3, 1, 1))
    x = build.node("Relu", [build.node("Softmax", ["image"], "inside", axis=1)], "y")
    with pytest.raises(Refusal, match=r"Softmax.*but as the model's last"):
        import_model(build.model(x), "m.onnx")


def test_nothing_comes_behind_an_argmax_but_casts() -> None:
    model = headed(("ArgMax", {"axis": 1, "keepdims": 0}), ("Cast", {"to": onnx.TensorProto.FLOAT}))
    assert import_model(model, "m.onnx").head == ("argmax",)
    with pytest.raises(Refusal, match="ArgMax"):
        import_model(headed(("ArgMax", {"axis": 1}), ("Cast", {"to": 1}), ("Softmax", {})), "m.onnx")


@pytest.mark.parametrize("kind", [TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT64])
@pytest.mark.parametrize("before", ["Softmax", "LogSoftmax", "Sigmoid"])
@pytest.mark.parametrize("behind", [[], [("ArgMax", {"axis": 1})]])
def test_a_cast_that_rounds_a_head_is_refused(before: str, kind: int, behind: list[tuple[str, dict[str, int]]]) -> None:
    model = headed((before, {"axis": 1} if before != "Sigmoid" else {}), ("Cast", {"to": kind}), *behind)
    with pytest.raises(Refusal, match=r"\(Cast\)|\(\w*Softmax\)"):
        import_model(model, "m.onnx")


def test_casts_that_change_no_number_are_no_part_of_a_head() -> None:
    chain = [("Cast", {"to": TensorProto.DOUBLE}), ("Softmax", {"axis": 1}), ("Cast", {"to": TensorProto.FLOAT16})]
    chain += [("ArgMax", {"axis": 1}), ("Cast", {"to": TensorProto.INT32}), ("Cast", {"to": TensorProto.FLOAT})]
    assert import_model(headed(*chain), "m.onnx").head == ("softmax", "argmax")
    with pytest.raises(Refusal, match="ArgMax"):
        import_model(headed(("ArgMax", {"axis": 1}), ("Cast", {"to": TensorProto.BOOL})), "m.onnx")


@pytest.mark.parametrize(
    "nodes",
    [
        [("Softmax", {"axis": 1}), ("Flatten", {"axis": 1}), ("ArgMax", {"axis": 1})],
        [("Softmax", {"axis": 1}), ("Flatten", {})],
        [("Flatten", {}), ("Softmax", {"axis": -1})],
        [("Sigmoid", {}), ("Flatten", {}), ("LogSoftmax", {"axis": 1})],
    ],
)
def test_axes_of_one_pixel_may_be_dropped_between_and_behind_the_head(nodes: list[tuple[str, dict[str, int]]]) -> None:
    model = headed(*nodes, flat=False)
    fixed = compile_program(import_model(model, "m.onnx"), IMAGES)
    found = apply_head(run_reference(fixed.program, fixed.weights, IMAGES), fixed.program.head)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"image": image[None]})[0] for image in IMAGES])
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=0.01)


@pytest.mark.parametrize("first", ["Sigmoid", "Softmax"])
@pytest.mark.parametrize(
    "between", [("Flatten", {"axis": 2}), ("Transpose", {"perm": [0, 2, 1, 3]}), ("Flatten", {"axis": -3})]
)
def test_what_moves_the_classes_between_two_operators_of_the_head_is_right_or_refused(
    between: tuple[str, dict[str, object]], first: str
) -> None:
    given = {"axis": 1} if first == "Softmax" else {}
    model = headed((first, given), between, ("ArgMax", {"axis": 1}), flat=False)  # type: ignore[arg-type]
    try:
        fixed = compile_program(import_model(model, "m.onnx"), IMAGES)
    except Refusal:
        return
    found = apply_head(run_reference(fixed.program, fixed.weights, IMAGES), fixed.program.head)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"image": image[None]})[0] for image in IMAGES])
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=0.01)


def test_pixels_are_not_joined_with_classes_between_two_operators_of_the_head() -> None:
    build = ModelBuilder((3, 2, 2))
    x = build.node("Softmax", [build.node("Relu", ["image"], "x")], "s", axis=1)
    model = build.model(build.node("ArgMax", [build.node("Flatten", [x], "f")], "y", axis=1))
    with pytest.raises(Refusal, match="joins classes and pixels"):
        import_model(model, "m.onnx")
