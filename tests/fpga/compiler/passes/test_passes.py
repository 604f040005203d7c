"""Passes keep what the graph computes, and do what they are for."""

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, mixed_model, run_onnx

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler import passes
from rrnet_nni.fpga.compiler.compile import Compilation, compile_graph, compile_program
from rrnet_nni.fpga.compiler.float_interpreter import run_float
from rrnet_nni.fpga.compiler.graph import AvgPool, Conv, Graph, MaxPool, Polynomial, Relu
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.passes import PASSES, optional_passes, run_passes
from rrnet_nni.fpga.compiler.report.report import program_traffic
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.reference import decode_tensor, run_reference
from rrnet_nni.fpga.protocols import get_costs

DEVICE, MASKED = load_device("zcu104"), get_costs("masked")
IMAGES = np.random.default_rng(1).normal(size=(32, 3, 16, 16)).astype(np.float32)


def compiled(graph: Graph, *disabled: str, images: np.ndarray = IMAGES) -> Compilation:
    return compile_graph(graph, load_device("zcu104"), get_costs("beaver-ot"), images, disabled)


def optimized(build: ModelBuilder, output: str) -> Graph:
    return run_passes(import_model(build.model(output), "model"))[0]


def kinds(graph: Graph) -> list[type]:
    return [type(node) for node in graph.nodes]


def truncations(compilation: Compilation) -> int:
    return sum(operation.kind == "truncate" for operation in compilation.program.operations)


@pytest.mark.parametrize("name", optional_passes())
def test_a_model_compiles_to_the_same_classes_without_each_optional_pass(name: str) -> None:
    result = compiled(import_model(mixed_model(), "model"), name)
    wanted = run_onnx(mixed_model(), IMAGES)
    found = run_reference(result.program, result.weights, IMAGES)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_every_pass_keeps_the_result_and_reaches_a_fixed_point() -> None:
    graph = import_model(mixed_model(), "model")
    wanted = run_float(graph, IMAGES)
    graph, results = run_passes(graph)
    for result in results:
        np.testing.assert_allclose(run_float(result.graph, IMAGES), wanted, atol=1e-4, err_msg=result.name)
    assert not any(item.apply(graph)[1] for item in PASSES)


SPELLINGS = {
    "k*x*x + w*x + b": [
        ("Mul", "x", "x", "xx"),
        ("Mul", "xx", "k", "kxx"),
        ("Mul", "x", "w", "wx"),
        ("Add", "kxx", "wx", "s"),
        ("Add", "s", "b", "y"),
    ],
    "x*(k*x + w) + b": [
        ("Mul", "k", "x", "kx"),
        ("Add", "kx", "w", "i"),
        ("Mul", "x", "i", "p"),
        ("Add", "b", "p", "y"),
    ],
    "k*x**2 + w*x + b": [
        ("Pow", "x", "two", "xx"),
        ("Mul", "k", "xx", "kxx"),
        ("Mul", "w", "x", "wx"),
        ("Sum", "kxx", "wx", "b", "y"),
    ],
    "(k*x)*x - (-w)*x + b": [
        ("Mul", "k", "x", "kx"),
        ("Mul", "kx", "x", "kxx"),
        ("Neg", "w", "nw"),
        ("Mul", "nw", "x", "nwx"),
        ("Sub", "kxx", "nwx", "d"),
        ("Add", "d", "b", "y"),
    ],
    "x*x/(1/k) + w*x + b": [
        ("Mul", "x", "x", "xx"),
        ("Reciprocal", "k", "r"),
        ("Div", "xx", "r", "kxx"),
        ("Mul", "x", "w", "wx"),
        ("Add", "wx", "b", "l"),
        ("Add", "kxx", "l", "y"),
    ],
}


@pytest.mark.parametrize("steps", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_polynomial_is_recognized_in_every_spelling(steps: list[tuple[str, ...]], per_channel: bool) -> None:
    build = ModelBuilder((3, 8, 8))
    shape = (3, 1, 1) if per_channel else ()
    for name, value in (("k", 0.07), ("w", 0.8), ("b", 0.1)):
        build.constant(name, np.full(shape, value) * build.generator.uniform(0.5, 1.5, shape))
    build.constant("two", 2.0)
    build.node("Relu", ["image"], "x")
    for operator, *inputs, output in steps:
        build.node(operator, inputs, output)
    graph = optimized(build, "y")
    assert kinds(graph) == [Relu, Polynomial]
    images = IMAGES[:, :, :8, :8]
    np.testing.assert_allclose(run_float(graph, images), run_onnx(build.model("y"), images), atol=1e-5)
    result = compiled(import_model(build.model("y"), "model"), images=images)
    assert (
        np.abs(run_reference(result.program, result.weights, images) - run_onnx(build.model("y"), images)).max() < 0.02
    )


def test_batch_norm_folds_into_convolutions_and_polynomials() -> None:
    build = ModelBuilder()
    x = build.batch_norm(build.conv("image", "conv", 3, 4), "bn1", 4)
    x = build.batch_norm(build.x2act(x, "act", 0.05, 1.0, 0.0), "bn2", 4)
    assert kinds(optimized(build, x)) == [Conv, Polynomial]


def test_an_identity_shortcut_around_x2act_becomes_part_of_it() -> None:
    build = ModelBuilder()
    x = build.conv("image", "conv", 3, 4)
    x = build.node("Add", [build.x2act(x, "act", 0.05, 1.0, 0.0), x], "sum")
    graph = optimized(build, x)
    assert kinds(graph) == [Conv, Polynomial]


def test_maxpool_goes_before_relu_and_saves_comparisons() -> None:
    build = ModelBuilder()
    x = build.node("Relu", [build.conv("image", "conv", 3, 4)], "relu")
    x = build.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    graph = import_model(build.model(x), "model")
    assert kinds(run_passes(graph)[0]) == [Conv, MaxPool, Relu]
    fewer, more = (compiled(graph, *disabled).report["comparisons"] for disabled in ((), ("maxpool-before-relu",)))
    assert (fewer, more) == (4 * 64 * (3 + 1), 4 * 64 * (3 + 4))


def test_scaling_saves_the_truncation_of_squares_and_of_odd_means() -> None:
    build = ModelBuilder()
    x = build.x2act(build.conv("image", "conv1", 3, 8), "act1", 0.013, 1.0, 0.1)
    x = build.node("AveragePool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2])
    y = build.x2act(build.conv(x, "conv2", 8, 8), "act2", -0.021, 0.9, 0.0)
    x = build.x2act(build.node("Add", [x, y], "add"), "act3", 0.03, 1.0, 0.0)
    model = build.model(build.conv(x, "logits", 8, 10))
    graph = import_model(model, "model")
    scaled, plain = compiled(graph), compiled(graph, "scale-tensors")
    assert truncations(plain) - truncations(scaled) >= 3
    wanted = run_onnx(model, IMAGES)
    for result in (scaled, plain):
        assert (
            np.abs(run_reference(result.program, result.weights, IMAGES) - wanted).max() < 0.02 * np.abs(wanted).max()
        )


def test_scaled_tensors_decode_to_those_of_the_model() -> None:
    model = mixed_model()
    result = compiled(import_model(model, "model"))
    assert any(tensor.scale != (1.0,) for tensor in result.program.tensors.values())
    with_output = onnx.ModelProto()
    with_output.CopyFrom(model)
    with_output.graph.output[0].name = "add"
    del with_output.graph.output[0].type.tensor_type.shape.dim[:]
    wanted = run_onnx(with_output, IMAGES)
    _, words = run_reference(result.program, result.weights, IMAGES, tensors=True)
    np.testing.assert_allclose(decode_tensor(result.program, "add", words["add"]), wanted, atol=0.05)


@pytest.mark.parametrize("readers", ["two polynomials", "relu and polynomial", "concat", "clip"])
def test_conflicting_demands_on_a_scale_are_still_computed_right(readers: str) -> None:
    build = ModelBuilder()
    x = build.conv("image", "conv", 3, 4)
    left = build.x2act(x, "left", 0.05, 1.0, 0.0)
    if readers == "two polynomials":
        y = build.node("Add", [left, build.conv(build.x2act(x, "right", 0.07, 0.5, 0.1), "c", 4, 4)], "y")
    elif readers == "relu and polynomial":
        y = build.node("Add", [left, build.conv(build.node("Relu", [x], "relu"), "c", 4, 4)], "y")
    elif readers == "concat":
        y = build.node("Concat", [left, build.x2act(build.conv(x, "c", 4, 4), "right", 0.07, 0.5, 0.1)], "cat", axis=1)
        y = build.node("Relu", [y], "y")
    else:
        clip = build.node("Clip", [left, build.constant("zero", 0.0), build.constant("six", 6.0)], "clip")
        y = build.x2act(build.node("Add", [clip, build.conv(x, "c", 4, 4)], "sum"), "y", 0.02, 1.0, 0.0)
    model = build.model(y)
    result = compiled(import_model(model, "model"))
    wanted = run_onnx(model, IMAGES)
    np.testing.assert_allclose(run_float(result.graph, IMAGES), wanted, atol=1e-3)
    assert np.abs(run_reference(result.program, result.weights, IMAGES) - wanted).max() < 0.03 * np.abs(wanted).max()


def test_only_optional_passes_can_be_disabled() -> None:
    with pytest.raises(Refusal, match="cannot be disabled"):
        run_passes(import_model(mixed_model(), "model"), ["recognize-polynomials"])


def test_a_pass_that_never_settles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Restless:
        name, gain, required = "restless", "nothing", False

        def apply(self, graph: Graph) -> tuple[Graph, bool]:
            return graph, True

    monkeypatch.setattr(passes, "PASSES", (Restless(),))
    with pytest.raises(Refusal, match="the pass 'restless' does not settle on this graph in 1000 rounds"):
        run_passes(import_model(mixed_model(), "model"))


def test_the_report_says_what_each_pass_saves() -> None:
    result = compiled(import_model(mixed_model(), "model"))
    gains = {row["pass"]: row for row in result.report["gains"]}
    assert gains["maxpool-before-relu"]["comparisons"] == 8 * (256 - 64)
    assert gains["scale-tensors"]["bytes_sent"] > 0
    assert gains["fold-affine"]["operator_sum_ms"] > 0


@pytest.mark.parametrize("groups", [1, 2])
def test_an_average_pooling_goes_before_a_pointwise_convolution(groups: int) -> None:
    build = ModelBuilder((4, 8, 8))
    build.conv("image", "wide", 4, 12, kernel=1, groups=groups)
    build.node("AveragePool", ["wide"], "y", kernel_shape=[4, 4], strides=[4, 4])
    images = np.random.default_rng(2).normal(size=(16, 4, 8, 8)).astype(np.float32)
    graph = optimized(build, "y")
    assert kinds(graph) == [AvgPool, Conv]
    wanted = run_onnx(build.model("y"), images)
    np.testing.assert_allclose(run_float(graph, images), wanted, atol=1e-5)
    first, last = (
        compiled(import_model(build.model("y"), "model"), *disabled, images=images)
        for disabled in ((), ("average-pool-first",))
    )
    assert sum(first.report["bytes_sent"]) < sum(last.report["bytes_sent"]) / 4
    assert np.abs(run_reference(first.program, first.weights, images) - wanted).max() < 0.02


@pytest.mark.parametrize(
    ("kernel", "pool", "what"),
    [(3, {"kernel_shape": [4, 4], "strides": [4, 4]}, "a wide kernel"), (1, {"kernel_shape": [1, 1]}, "no pooling")],
)
def test_an_average_pooling_stays_behind_other_convolutions(kernel: int, pool: dict[str, list[int]], what: str) -> None:
    build = ModelBuilder((4, 8, 8))
    build.conv("image", "wide", 4, 12, kernel=kernel)
    build.node("AveragePool", ["wide"], "y", **pool)
    graph = optimized(build, "y")
    assert isinstance(graph.nodes[0], Conv), what


@pytest.mark.parametrize(("convolutions", "fewer"), [(1, 0), (2, 1)])
def test_a_sum_of_products_is_truncated_once(convolutions: int, fewer: int) -> None:
    build = ModelBuilder()
    x = build.node("Relu", [build.conv("image", "stem", 3, 4)], "relu")
    shortcut = build.conv(x, "shortcut", 4, 4, kernel=1) if convolutions == 2 else x
    x = build.node("Relu", [build.node("Add", [shortcut, build.conv(x, "conv", 4, 4)], "sum")], "relu2")
    model = build.model(build.conv(x, "logits", 4, 10))
    graph = import_model(model, "model")
    once, each = compiled(graph), compiled(graph, "add-before-truncation")
    assert truncations(each) - truncations(once) == fewer
    gains = {row["pass"]: row for row in once.report["gains"]}
    assert gains["add-before-truncation"]["bytes_sent"] == fewer * 2 * 4 * 4 * 16 * 16
    wanted = run_onnx(model, IMAGES)
    opened = []
    for result, *disabled in ((once,), (each, "add-before-truncation")):
        error = np.abs(run_reference(result.program, result.weights, IMAGES) - wanted).max()
        assert error < 0.01 * np.abs(wanted).max()
        program = compile_program(graph, IMAGES, disabled).program  # on whole words
        opened.append(sum(row["bytes_sent"][0] for row in program_traffic(program, DEVICE, MASKED)))
    assert opened[0] < opened[1]


def test_an_untruncated_sum_that_exceeds_its_summands_still_fits() -> None:
    """Two equal convolutions: the sum reaches twice as far, so that the weights of both give a bit."""
    build = ModelBuilder()
    weight = np.abs(build.generator.normal(size=(4, 3, 3, 3)))
    for name in ("left", "right"):
        build.constant(f"{name}.weight", weight)
        build.node("Conv", ["image", f"{name}.weight"], name, pads=[1] * 4)
    build.node("Relu", [build.node("Add", ["left", "right"], "sum")], "relu")
    model = build.model(build.conv("relu", "logits", 4, 10))
    images = np.abs(IMAGES)
    result = compiled(import_model(model, "model"), images=images)
    margins = {row["tensor"]: row["margin_bits"] for row in result.report["certificate"]}
    assert margins["sum.untruncated"] >= 1 - 1e-3
    assert margins["left"] >= margins["sum.untruncated"] + 0.99
    wanted = run_onnx(model, images)
    assert np.abs(run_reference(result.program, result.weights, images) - wanted).max() < 0.01 * np.abs(wanted).max()
