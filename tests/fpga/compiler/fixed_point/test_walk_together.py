"""Nearly equal graphs are calibrated at once: the same numbers to the bit as one after the other, with less work."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, mixed_model

from rrnet_nni.fpga.compiler.fixed_point import calibration as calibrating
from rrnet_nni.fpga.compiler.fixed_point import walk_together as together
from rrnet_nni.fpga.compiler.fixed_point.calibration import (
    DEFAULT_IMAGES,
    SAMPLE_IMAGES,
    Calibration,
    UnfitRange,
    calibrate,
    calibrate_beside,
)
from rrnet_nni.fpga.compiler.float_interpreter import walk_float
from rrnet_nni.fpga.compiler.graph import Conv, Graph
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.passes import optional_passes, run_passes

NOISE = np.random.default_rng(3).normal(size=(12, 3, 16, 16)).astype(np.float32)


def forms(plain: Graph) -> list[Graph]:
    """With all passes, and without each."""
    return [run_passes(plain, disabled)[0] for disabled in ((), *((name,) for name in optional_passes()))]


def assert_same(found: Calibration, wanted: Calibration) -> None:
    assert found.seen == wanted.seen
    assert list(found.seen) == list(wanted.seen)
    assert (found.images, found.assumed, found.left_out) == (wanted.images, wanted.assumed, wanted.left_out)
    np.testing.assert_array_equal(found.sample, wanted.sample)
    for name in wanted.seen:
        np.testing.assert_array_equal(found.channels[name], wanted.channels[name])
        np.testing.assert_array_equal(found.powers[name], wanted.powers[name])


def pooled_relu() -> Graph:
    build = ModelBuilder((3, 16, 16))
    x = build.node("Relu", [build.conv("image", "a", 3, 4)], "relu")
    x = build.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    x = build.node("Relu", [build.conv(x, "b", 4, 4)], "last")
    return import_model(build.model(build.conv(x, "y", 4, 2)), "m")


def test_every_tensor_of_every_graph_is_the_one_of_its_own_walk() -> None:
    graphs = forms(import_model(mixed_model(), "m"))
    found: list[dict[str, np.ndarray]] = [{} for _ in graphs]
    for places, value in together.walk_together(graphs, NOISE):
        for number, name in places:
            found[number][name] = value
    for graph, values in zip(graphs, found, strict=True):
        wanted = dict(walk_float(graph, NOISE))
        assert values.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_array_equal(values[name], value)


def test_what_graphs_share_is_computed_once_also_behind_a_pooling_that_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = pooled_relu()
    graphs = [run_passes(plain)[0], run_passes(plain, ["maxpool-before-relu"])[0], run_passes(plain)[0]]
    assert [node.output for node in graphs[0].nodes] != [node.output for node in graphs[1].nodes]
    evaluated: Counter[type] = Counter()
    evaluate = together.evaluate_node
    monkeypatch.setattr(
        together, "evaluate_node", lambda node, inputs: (evaluated.update([type(node)]), evaluate(node, inputs))[1]
    )
    for _ in together.walk_together(graphs, NOISE):
        pass
    assert evaluated[Conv] == 3
    assert evaluated.total() == len(graphs[0].nodes) + 1  # the ReLU of all pixels


def test_equal_shapes_and_other_weights_are_other_tensors() -> None:
    graph = pooled_relu()
    other = graph.with_nodes(
        replace(node, weight=node.weight * 2) if isinstance(node, Conv) else node for node in graph.nodes
    )
    tensors = [places for places, _ in together.walk_together([graph, other], NOISE)]
    assert all(len({number for number, _ in places}) == 1 for places in tensors[1:])


def test_weights_too_large_to_compare_are_the_same_where_they_are_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = pooled_relu()
    copied = graph.with_nodes(
        replace(node, weight=node.weight.copy()) if isinstance(node, Conv) else node for node in graph.nodes
    )
    for limit, computed in ((together.COMPARED_BYTES, 1), (0, 2)):
        monkeypatch.setattr(together, "COMPARED_BYTES", limit)
        assert len(list(together.walk_together([graph, copied], NOISE))) == 1 + computed * len(graph.nodes)
        assert len(list(together.walk_together([graph, graph], NOISE))) == 1 + len(graph.nodes)


@pytest.mark.parametrize("images", [None, NOISE[:2], NOISE[:SAMPLE_IMAGES], NOISE])
def test_calibrations_beside_each_other_are_those_of_each_alone(images: np.ndarray | None) -> None:
    graph, *others = forms(import_model(mixed_model(), "m"))
    wanted = calibrate(graph, images)
    found, beside = calibrate_beside(graph, others, images)
    assert_same(found, wanted)
    assert len(beside) == len(others)
    for other, calibration in zip(others, beside, strict=True):
        assert isinstance(calibration, Calibration)
        assert_same(calibration, calibrate(other, wanted.sample))
    for name, value in walk_float(graph, wanted.sample):
        np.testing.assert_array_equal(found.exact[name], value)
    assert not wanted.exact


@pytest.mark.parametrize("affordable", [2, DEFAULT_IMAGES])
def test_images_that_do_not_count_do_not_count_for_the_others_either(
    affordable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of windows, squared twice: smooth images explode, and the sample is the others."""
    build = ModelBuilder((3, 16, 16))
    x = build.node("Conv", ["image", build.constant("blur", np.eye(3)[:, :, None, None] * np.full((7, 7), 1 / 7))], "w")
    for place in range(3):
        x = build.node("Mul", [x, x], f"square{place}")
    pooled = build.node("Flatten", [build.node("GlobalAveragePool", [x], "pool")], "flat")
    graph, *others = forms(import_model(build.model(build.gemm(pooled, "logits", 3, 4)), "m"))
    monkeypatch.setattr(calibrating, "SAMPLE_ELEMENTS", affordable * sum(map(math.prod, graph.shapes.values())))
    found, beside = calibrate_beside(graph, others, None)
    assert (found.left_out, found.images) == ("smooth", affordable // 2)
    assert_same(found, calibrate(graph, None))
    for other, calibration in zip(others, beside, strict=True):
        assert isinstance(calibration, Calibration)
        assert_same(calibration, calibrate(other, found.sample))


def test_a_form_that_overflows_costs_the_others_nothing() -> None:
    graph = pooled_relu()
    exploding = graph.with_nodes(
        replace(node, weight=node.weight * 1e25) if isinstance(node, Conv) else node for node in graph.nodes
    )
    calibration, (first, second) = calibrate_beside(graph, [exploding, graph], NOISE)
    assert_same(calibration, calibrate(graph, NOISE))
    assert isinstance(first, UnfitRange)
    assert "overflows on calibration image 0" in str(first)
    assert isinstance(second, Calibration)
    with pytest.raises(UnfitRange, match="overflows"):
        calibrate_beside(exploding, [graph], NOISE)
