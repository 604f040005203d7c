"""Branches that nobody needs cost nothing, and what is left computes the same."""

import numpy as np
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx

from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.float_interpreter import run_float
from rrnet_nni.fpga.compiler.graph import AvgPool, Graph, MaxPool, Pick, Polynomial, Relu
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.passes import run_passes
from rrnet_nni.fpga.program.reference import run_reference

IMAGES = np.random.default_rng(5).normal(size=(4, 3, 8, 8)).astype(np.float32)


def optimized(build: ModelBuilder, output: str) -> Graph:
    """The graph after all passes, which agrees with onnxruntime and so does its program."""
    model = build.model(output)
    wanted = run_onnx(model, IMAGES)
    graph = import_model(model, "m")
    result = run_passes(graph)[0]
    np.testing.assert_allclose(run_float(result, IMAGES).reshape(wanted.shape), wanted, atol=1e-4)
    fixed = compile_program(graph, IMAGES)
    logits = run_reference(fixed.program, fixed.weights, IMAGES).reshape(wanted.shape)
    assert np.abs(logits - wanted).max() < 0.02 * np.abs(wanted).max()
    return result


def kinds(graph: Graph) -> list[type]:
    return [type(node) for node in graph.nodes]


@pytest.mark.parametrize("winner", ["relu", "polynomial"])
def test_a_gate_whose_weights_are_decided_costs_what_its_winner_costs(winner: str) -> None:
    build = ModelBuilder((3, 8, 8))
    x = build.conv("image", "conv", 3, 4)
    weights = {"relu": (1.0, 0.0), "polynomial": (0.0, 1.0)}[winner]
    relu = build.node("Mul", [build.node("Relu", [x], "relu"), build.constant("c0", weights[0])], "gated_relu")
    squared = build.node("Mul", [x, x], "square")
    other = build.node("Mul", [squared, build.constant("c1", weights[1])], "gated_square")
    total = build.node("Add", [relu, other], "total")
    pools = [
        build.node("Mul", [build.node("MaxPool", [total], "max", kernel_shape=[2, 2]), build.constant("p0", 0.0)], "a"),
        build.node(
            "Mul", [build.node("AveragePool", [total], "mean", kernel_shape=[2, 2]), build.constant("p1", 1.0)], "b"
        ),
    ]
    found = kinds(optimized(build, build.node("Add", pools, "sum")))
    assert (Relu in found, Polynomial in found) == (winner == "relu", winner == "polynomial")
    assert MaxPool not in found
    assert found.count(AvgPool) == 1


def test_a_zero_branch_leaves_its_constant_in_the_sum() -> None:
    build = ModelBuilder((3, 8, 8))
    x = build.conv("image", "conv", 3, 4)
    zero = build.node("Mul", [build.node("Relu", [x], "relu"), build.constant("c", 0.0)], "zero")
    shifted = build.node("Add", [zero, build.constant("shift", np.arange(1, 5).reshape(4, 1, 1))], "shifted")
    kept = build.node("Relu", [shifted], "kept")
    assert Relu not in kinds(optimized(build, build.node("Sub", [x, kept], "difference")))


def test_a_product_with_a_branch_of_zero_is_no_product() -> None:
    build = ModelBuilder((3, 8, 8))
    x = build.conv("image", "conv", 3, 4)
    one = build.node("Mul", [build.node("Relu", [x], "relu"), build.constant("c", 0.0)], "zero")
    one = build.node("Add", [one, build.constant("one", 1.0)], "one_")
    assert Relu not in kinds(optimized(build, build.node("Mul", [x, one], "gate")))


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 4, 8, 8), (8, 8)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_relu_under_a_mask_compares_what_the_mask_leaves(shape: tuple[int, ...], scale: float) -> None:
    build = ModelBuilder((3, 8, 8))
    x = build.conv("image", "conv", 3, 4)
    mask = (np.random.default_rng(0).uniform(size=shape) < 0.3).astype(np.float32)
    relu = build.node("Mul", [build.node("Relu", [x], "relu"), build.constant("mask", scale * mask)], "masked")
    rest = build.node("Mul", [x, build.constant("rest", 1 - mask)], "rest_of_x")
    graph = optimized(build, build.node("Add", [relu, rest], "sum"))
    compared = [graph.shapes[node.output] for node in graph.nodes if isinstance(node, Relu)]
    assert compared == [(int(np.broadcast_to(mask.reshape(mask.shape[-3:]), (4, 8, 8)).sum()),)]
    assert kinds(graph).count(Pick) == 3


def test_a_relu_that_others_read_too_is_compared_whole() -> None:
    build = ModelBuilder((3, 8, 8))
    relu = build.node("Relu", [build.conv("image", "conv", 3, 4)], "relu")
    mask = np.tri(8, dtype=np.float32)
    masked = build.node("Mul", [relu, build.constant("mask", mask)], "masked")
    graph = optimized(build, build.node("Add", [relu, masked], "sum"))
    assert [graph.shapes[node.output] for node in graph.nodes if isinstance(node, Relu)] == [(4, 8, 8)]
