"""Activations by comparisons, products and piecewise quadratics: right, and as cheap as they should be."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import Compilation, compile_graph, compile_program
from rrnet_nni.fpga.compiler.fixed_point.certificate import approximations
from rrnet_nni.fpga.compiler.float_interpreter import run_float
from rrnet_nni.fpga.compiler.graph import Combine, Graph, Piecewise, Product
from rrnet_nni.fpga.compiler.inventory import graph_operators
from rrnet_nni.fpga.compiler.onnx.frontend import import_model, read_onnx
from rrnet_nni.fpga.compiler.passes import run_passes
from rrnet_nni.fpga.compiler.piecewise_tables import FINER, PIECEWISE
from rrnet_nni.fpga.compiler.schedule.operand_table import operand_table
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import AffineOp, MulOp
from rrnet_nni.fpga.program.operators import comparison_count
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.protocols import executions, get_costs
from rrnet_nni.fpga.runtime.session.conformance import disagreement

CASES = Path(__file__).parent / "cases"
ELEMENTS = 8 * 16 * 16
#: Model -> comparisons of one image.
RIGHT = {
    "leaky": ELEMENTS,
    "prelu": ELEMENTS,
    "max0": ELEMENTS,
    "abs": ELEMENTS,
    "hardswish": 2 * ELEMENTS,
    "se": ELEMENTS + 8 * PIECEWISE["sigmoid"].comparisons,
    "sigmoid": ELEMENTS * PIECEWISE["sigmoid"].comparisons,
    "norm_inside": ELEMENTS,
}


def images(count: int, seed: int = 1, shape: tuple[int, ...] = (3, 16, 16)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def compiled(name: str, protocol: str = "beaver-ot", ring: str | None = None) -> Compilation:
    graph = read_onnx(CASES / f"{name}.onnx")
    return compile_graph(graph, load_device("zcu104"), get_costs(protocol), images(64, seed=0), ring=ring)


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found.reshape(wanted.shape) - wanted) ** 2) / np.mean(wanted**2)))


@pytest.mark.parametrize("ring", ["narrow", "32"])
@pytest.mark.parametrize("name", RIGHT)
def test_models_of_others_are_right_with_as_few_comparisons_as_they_need(name, ring):
    result = compiled(name, ring=ring)
    wanted = run_onnx(onnx.load(CASES / f"{name}.onnx"), images(32))
    assert relative_error(run_reference(result.program, result.weights, images(32)), wanted) < 0.01
    assert result.report["comparisons"] == RIGHT[name]


@pytest.mark.parametrize("name", ["leaky", "hardswish", "se"])
@pytest.mark.parametrize("execution", executions().values(), ids=executions())
def test_two_parties_compute_them_bit_for_bit_and_send_what_is_predicted(execution, name):
    result = compiled(name, ring="narrow")
    assert disagreement(result.program, result.weights, images(1), execution) is None


def test_smooth_activations_state_their_largest_error_and_keep_it():
    x = np.linspace(-60, 60, 400_001)
    for function, table in PIECEWISE.items():
        found = np.abs(table(x) - table.exact(x)).max()
        assert 0.9 * table.largest_error <= found <= table.largest_error + 1e-12, function
    report = compiled("se").report["approximations"]
    assert [(each["function"], each["largest_error"]) for each in report] == [("sigmoid", 0.0014)]


@pytest.mark.parametrize("function", ["Sigmoid", "Tanh", "Silu"])
def test_smooth_activations_in_fixed_point_are_within_their_error_and_rounding(function):
    build = ModelBuilder((16, 4, 4))
    if function == "Silu":
        y = build.node("Mul", ["image", build.node("Sigmoid", ["image"], "gate")], "y")
    else:
        y = build.node(function, ["image"], "y")
    model = build.model(build.node("Neg", [y], "negated"))  # the last activation alone would be the head's
    x = 2.5 * images(16, shape=(16, 4, 4))
    fixed = compile_program(import_model(model, "m"), x)
    assert [each.kind for each in fixed.program.operations].count("mul") == 0
    found = run_reference(fixed.program, fixed.weights, x)
    largest = PIECEWISE[function.lower()].largest_error
    assert np.abs(found - run_onnx(model, x)).max() < largest + 0.006


def gated(shape: tuple[int, ...], per_channel: bool) -> ModelBuilder:
    build = ModelBuilder(shape)
    x = build.conv("image", "a", shape[0], 4)
    gate = build.node("GlobalAveragePool", [x], "g") if per_channel else build.conv("image", "b", shape[0], 4)
    build.node("Mul", [gate, x], "gated")
    return build


@pytest.mark.parametrize("gate_per_channel", [False, True])
def test_products_of_two_secrets_are_right_in_whichever_order_they_stand(gate_per_channel):
    build = gated((3, 8, 8), gate_per_channel)
    x = build.node("Flatten", [build.node("GlobalAveragePool", ["gated"], "p")], "f")
    model = build.model(build.gemm(x, "y", 4, 3))
    x = images(32, shape=(3, 8, 8))
    fixed = compile_program(import_model(model, "m"), x)
    assert sum(isinstance(each, MulOp) for each in fixed.program.operations) == 1
    assert relative_error(run_reference(fixed.program, fixed.weights, x), run_onnx(model, x)) < 0.01


def hard_swish(build: ModelBuilder, source: str, spelling: str) -> str:
    """HardSwish as an operator, or as exporters without it spell it."""
    if spelling == "operator":
        return build.node("HardSwish", [source], "swish")
    if spelling == "hard-sigmoid":
        gate = build.node("HardSigmoid", [source], "gate", alpha=1 / 6, beta=0.5)
        return build.node("Mul", [gate, source], "swish")
    raised = build.node("Add", [source, build.constant("three", 3.0)], "raised")
    gate = build.node("Clip", [raised, build.constant("low", 0.0), build.constant("high", 6.0)], "gate")
    return build.node("Div", [build.node("Mul", [source, gate], "product"), build.constant("six", 6.0)], "swish")


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("spelling", ["operator", "hard-sigmoid", "clip"])
def test_hard_swish_is_exact_in_any_spelling_with_a_square_in_place_of_a_product(spelling, summed):
    build = ModelBuilder((3, 8, 8))
    x = hard_swish(build, build.conv("image", "first", 3, 4), spelling)
    if summed:
        x = build.node("Add", [x, build.conv(x, "branch", 4, 4)], "sum")
    model = build.model(build.conv(x, "last", 4, 4))
    graph = import_model(model, "m")
    optimized, _ = run_passes(graph)
    assert [node.function for node in optimized.nodes if isinstance(node, Piecewise)] == ["scaled-hardswish"]
    assert approximations(optimized) == []
    x = images(16, shape=(3, 8, 8))
    fixed = compile_program(graph, x)
    assert not any(isinstance(each, MulOp) for each in fixed.program.operations)
    assert relative_error(run_reference(fixed.program, fixed.weights, x), run_onnx(model, x)) < 0.002


def test_a_product_that_only_resembles_hard_swish_stays_a_product():
    build = ModelBuilder((3, 8, 8))
    x = build.conv("image", "first", 3, 4)
    gate = build.node("HardSigmoid", [x], "gate", alpha=0.2, beta=0.5)
    model = build.model(build.node("Mul", [gate, x], "y"))
    graph, _ = run_passes(import_model(model, "m"))
    assert any(isinstance(node, Product) for node in graph.nodes)
    x = images(4, shape=(3, 8, 8))
    np.testing.assert_allclose(run_float(graph, x), run_onnx(model, x), atol=1e-5)


@pytest.mark.parametrize("operator", ["HardSwish", "Silu"])
@pytest.mark.parametrize("size", [1e-2, 1.0, 300.0])
def test_even_activations_keep_the_bits_of_small_and_of_far_reaching_tensors(operator, size):
    build = ModelBuilder((3, 8, 8))
    source = build.conv(build.node("Mul", ["image", build.constant("size", size)], "sized"), "first", 3, 4)
    if operator == "Silu":
        y = build.node("Mul", [source, build.node("Sigmoid", [source], "gate")], "y")
    else:
        y = build.node(operator, [source], "y")
    model = build.model(build.conv(y, "last", 4, 4))
    x = images(16, shape=(3, 8, 8))
    fixed = compile_program(import_model(model, "m"), x)
    assert relative_error(run_reference(fixed.program, fixed.weights, x), run_onnx(model, x)) < 0.01


def with_a_gate(channels: int, pixels: int) -> Graph:
    build = ModelBuilder((3, pixels, pixels))
    x = build.node("Relu", [build.conv("image", "first", 3, channels)], "r")
    pooled = build.node("GlobalAveragePool", [x], "pool")
    gate = build.node("Sigmoid", [build.conv(pooled, "fc", channels, channels, kernel=1)], "gate")
    return import_model(build.model(build.conv(build.node("Mul", [x, gate], "gated"), "last", channels, 4)), "m")


def test_gates_take_the_finer_table_where_their_comparisons_do_not_count():
    few, many = with_a_gate(4, 40), with_a_gate(4, 4)
    functions = [
        [node.function for node in run_passes(each)[0].nodes if isinstance(node, Piecewise)] for each in (few, many)
    ]
    assert functions == [["fine-sigmoid"], ["sigmoid"]]
    plain, _ = run_passes(few, ["refine-small"])
    fine, _ = run_passes(few)
    counts = [sum(comparison_count(each.shape) for each in graph_operators(graph)) for graph in (plain, fine)]
    assert counts[0] < counts[1] < 1.02 * counts[0]
    assert all(PIECEWISE[fine].largest_error < PIECEWISE[coarse].largest_error / 2 for coarse, fine in FINER.items())


bounds = st.floats(-2, 2, width=16)


@given(low=st.none() | bounds, height=st.none() | st.floats(0.125, 3, width=16))
@settings(max_examples=25, deadline=None)
def test_clips_with_any_bounds_are_exact(low, height):
    build = ModelBuilder((4, 3, 3))
    high = None if height is None else (low or 0.0) + height
    inputs = ["image", "" if low is None else build.constant("low", low)]
    inputs += [] if high is None else [build.constant("high", high)]
    model = build.model(build.node("Clip", inputs, "y"))
    graph, _ = run_passes(import_model(model, "m"))
    np.testing.assert_allclose(
        run_float(graph, images(4, shape=(4, 3, 3))), run_onnx(model, images(4, shape=(4, 3, 3))), atol=1e-6
    )
    wanted = {(True, True): 0, (False, False): 2}.get((low is None, high is None), 1)
    assert sum(comparison_count(each.shape) for each in graph_operators(graph)) == wanted * 36


@given(
    st.lists(st.none() | st.lists(bounds, min_size=4, max_size=4), min_size=1, max_size=3),
    st.sampled_from(["Max", "Min"]),
)
@settings(max_examples=25, deadline=None)
def test_extremes_of_tensors_and_constants_are_exact(operands, operator):
    build = ModelBuilder((4, 3, 3))
    other = build.node("Neg", ["image"], "other")
    constants = [
        build.constant(f"c{i}", np.reshape(each, (4, 1, 1))) if each else other for i, each in enumerate(operands)
    ]
    model = build.model(build.node(operator, [*constants, "image"], "y"))
    x = images(4, shape=(4, 3, 3))
    np.testing.assert_allclose(run_float(import_model(model, "m"), x), run_onnx(model, x), atol=1e-6)


def test_a_norm_that_nothing_can_take_is_a_secret_of_the_server():
    build = ModelBuilder((4, 8, 8))
    x = build.batch_norm(build.node("Relu", ["image"], "r"), "bn", 4)
    x = build.node("Add", [build.node("Relu", [x], "s"), "image"], "sum")
    model = build.model(build.gemm(build.node("Flatten", [build.node("GlobalAveragePool", [x], "p")], "f"), "y", 4, 3))
    fixed = compile_program(import_model(model, "m"), images(16, shape=(4, 8, 8)))
    public = [each for each in fixed.program.operations if isinstance(each, AffineOp)]
    assert all(len(row) == 1 for each in public for row in (*each.multipliers, each.addend))
    assert "/bn.weight" in fixed.weights
    x = images(16, shape=(4, 8, 8))
    assert relative_error(run_reference(fixed.program, fixed.weights, x), run_onnx(model, x)) < 0.01


def test_a_norm_goes_into_the_layers_that_read_it_where_nothing_is_padded():
    build = ModelBuilder((4, 8, 8))
    x = build.batch_norm(build.node("Relu", ["image"], "r"), "bn", 4)
    model = build.model(build.conv(x, "y", 4, 6, kernel=1))
    graph, _ = run_passes(import_model(model, "m"))
    assert [type(node).__name__ for node in graph.nodes] == ["Relu", "Conv"]
    np.testing.assert_allclose(
        run_float(graph, images(4, shape=(4, 8, 8))), run_onnx(model, images(4, shape=(4, 8, 8))), atol=1e-4
    )


def test_one_number_for_all_channels_stays_public_and_costs_no_product():
    build = ModelBuilder((4, 8, 8))
    graph, _ = run_passes(import_model(build.model(build.node("HardSigmoid", ["image"], "y")), "m"))
    assert all(value.size == 1 for node in graph.nodes if isinstance(node, Combine) for value in node.scales)
    assert not any(hasattr(node, "weight") for node in graph.nodes)


def test_the_accelerator_refuses_products_of_two_secrets_in_one_sentence():
    result = compiled("se", ring="32")
    with pytest.raises(Refusal, match="the accelerator has no operation 'mul'"):
        operand_table(result.program, (), get_costs("beaver-ot"), 1, b"")
