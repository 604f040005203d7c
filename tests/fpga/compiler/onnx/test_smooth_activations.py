"""GELU, ELU and their kin: onnxruntime's values up to the stated error, however far they reach, in every spelling."""

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.graph import Piecewise, Product
from rrnet_nni.fpga.compiler.inventory import graph_operators
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.passes import run_passes
from rrnet_nni.fpga.compiler.piecewise_tables import PIECEWISE
from rrnet_nni.fpga.program.operators import comparison_count
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.session.conformance import disagreement

SHAPE = (4, 6, 6)
IMAGES = 2.5 * np.random.default_rng(8).normal(size=(16, *SHAPE)).astype(np.float32)
#: Operator, attributes, table, how much larger its error is, comparisons per element beyond the table's.
OPERATORS: list[tuple[str, dict[str, object], str, float, int]] = [
    ("Gelu", {}, "gelu", 1.0, 0),
    ("Gelu", {"approximate": "tanh"}, "gelu-tanh", 1.0, 0),
    ("Elu", {}, "elu", 1.0, 0),
    ("Elu", {"alpha": 0.5}, "elu", 0.5, 1),
    ("Selu", {}, "elu", 1.76, 1),
    ("Celu", {"alpha": 2.0}, "elu", 2.0, 0),
    ("Celu", {}, "elu", 1.0, 0),
    ("Softplus", {}, "softplus", 1.0, 0),
    ("Mish", {}, "mish", 1.0, 0),
    ("Erf", {}, "erf", 1.0, 0),
    ("Swish", {}, "silu", 1.0, 0),
    ("Swish", {"alpha": 1.5}, "silu", 0.67, 0),
]


def one_operator(operator: str, given: dict[str, object]) -> onnx.ModelProto:
    build = ModelBuilder(SHAPE)
    return build.model(build.node(operator, ["image"], "y", **given), opset=24 if operator == "Swish" else 20)


@pytest.mark.parametrize(("operator", "given", "table", "factor", "more"), OPERATORS)
def test_they_are_within_their_error_and_rounding_for_the_comparisons_of_their_table(
    operator: str, given: dict[str, object], table: str, factor: float, more: int
) -> None:
    model = one_operator(operator, given)
    fixed = compile_program(import_model(model, "m"), IMAGES)
    error = np.abs(run_reference(fixed.program, fixed.weights, IMAGES) - run_onnx(model, IMAGES)).max()
    assert error < factor * PIECEWISE[table].largest_error + 0.006
    compared = sum(comparison_count(each.shape) for each in graph_operators(fixed.graph))
    assert compared == (PIECEWISE[table].comparisons + more) * np.prod(SHAPE)


@pytest.mark.parametrize("operator", ["Gelu", "Elu", "Mish", "Softplus"])
def test_far_from_zero_they_stay_relu(operator: str) -> None:
    model, far = one_operator(operator, {}), 60 * IMAGES
    fixed = compile_program(import_model(model, "m"), far)
    found, wanted = run_reference(fixed.program, fixed.weights, far), run_onnx(model, far)
    assert np.abs(found - wanted).max() < 0.03


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked"])
@pytest.mark.parametrize("operator", ["Gelu", "Elu", "Mish"])
def test_two_parties_compute_them_bit_for_bit(operator: str, protocol: str) -> None:
    fixed = compile_program(import_model(one_operator(operator, {}), "m"), IMAGES)
    assert disagreement(fixed.program, fixed.weights, IMAGES[:2], get_execution(protocol)) is None


def spelled(half: str, root: float = 2**0.5) -> onnx.ModelProto:
    """x (1 + erf(x / root)) / 2, with the half on x, in the gate or behind the product."""
    build = ModelBuilder(SHAPE)
    a = build.constant("half", 0.5)
    curve = build.node("Erf", [build.node("Div", ["image", build.constant("root", root)], "line")], "curve")
    gate = build.node("Add", [curve, build.constant("one", 1.0)], "gate")
    first = build.node("Mul", ["image", a], "halved") if half == "before" else "image"
    gate = build.node("Mul", [gate, a], "halved") if half == "gate" else gate
    y = build.node("Mul", [gate, first], "product")
    return build.model(build.node("Mul", [y, a], "y") if half == "behind" else build.node("Identity", [y], "y"))


@pytest.mark.parametrize("half", ["before", "gate", "behind"])
def test_gelu_spelled_by_erf_is_one_piecewise_quadratic(half: str) -> None:
    model = spelled(half)
    graph, _ = run_passes(import_model(model, "m"))
    assert [node.function for node in graph.nodes if isinstance(node, Piecewise)] == ["gelu"]
    assert not any(isinstance(node, Product) for node in graph.nodes)
    fixed = compile_program(import_model(spelled(half), "m"), IMAGES)
    error = np.abs(run_reference(fixed.program, fixed.weights, IMAGES) - run_onnx(model, IMAGES)).max()
    assert error < PIECEWISE["gelu"].largest_error + 0.006


def test_an_erf_of_another_multiple_is_no_gelu_and_right_all_the_same() -> None:
    model = spelled("behind", root=3**0.5)
    graph, _ = run_passes(import_model(model, "m"))
    assert [node.function for node in graph.nodes if isinstance(node, Piecewise)] == ["erf"]
    fixed = compile_program(import_model(spelled("behind", root=3**0.5), "m"), IMAGES)
    found, wanted = run_reference(fixed.program, fixed.weights, IMAGES), run_onnx(model, IMAGES)
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.003 * np.sqrt(np.mean(wanted**2))


def test_gelu_spelled_by_a_tanh_and_a_cube_is_right() -> None:
    build = ModelBuilder(SHAPE)
    cube = build.node("Pow", ["image", build.constant("three", 3.0)], "cube")
    inner = build.node("Add", ["image", build.node("Mul", [cube, build.constant("c", 0.044715)], "term")], "inner")
    curve = build.node("Tanh", [build.node("Mul", [inner, build.constant("d", (2 / np.pi) ** 0.5)], "line")], "curve")
    gate = build.node("Add", [curve, build.constant("one", 1.0)], "gate")
    half = build.node("Mul", ["image", build.constant("half", 0.5)], "halved")
    model = build.model(build.node("Mul", [half, gate], "y"))
    images = IMAGES / 2.5
    fixed = compile_program(import_model(model, "m"), images)
    found, wanted = run_reference(fixed.program, fixed.weights, images), run_onnx(model, images)
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.01 * np.sqrt(np.mean(wanted**2))


@pytest.mark.parametrize(
    ("operator", "given", "reason"),
    [
        ("Elu", {"alpha": 0.0}, "its alpha is 0, expected a positive number"),
        ("Celu", {"alpha": -1.0}, "its alpha is -1, expected a positive number"),
        ("Selu", {"gamma": -1.0}, "its gamma is -1, expected a positive number"),
        ("Gelu", {"approximate": "other"}, "approximate 'other' is unknown"),
    ],
)
def test_what_they_are_not_defined_for_is_refused(operator: str, given: dict[str, object], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        import_model(one_operator(operator, given), "m")
