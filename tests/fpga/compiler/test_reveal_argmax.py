"""A model compiled to reveal its argmax alone: the same classes, logits with room for differences, a valid build."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, run_onnx

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.compile import compile_model, compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
from rrnet_nni.fpga.program.build import CLIENT, load_build
from rrnet_nni.fpga.program.reference import run_reference


def classifier(classes, head=None):
    """Random features that tell images apart, so that every class is some image's."""
    build = ModelBuilder((3, 6, 6), seed=3)
    x = build.node("Flatten", [build.node("Relu", [build.conv("image", "conv", 3, 8, stride=2)], "relu")], "flat")
    x = build.gemm(x, "logits", 72, classes)
    return build.model(build.node(head, [x], "head") if head else x)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(6).normal(size=(200, 3, 6, 6)).astype(np.float32)


@pytest.mark.parametrize("ring", ["32", "narrow"])
@pytest.mark.parametrize("head", [None, "Softmax"])
def test_classes_are_those_of_floating_point(ring, head, images, tmp_path):
    model = classifier(6, head)
    onnx.save(model, tmp_path / "model.onnx")
    graph = replace(read_onnx(tmp_path / "model.onnx"), reveals="argmax")
    fixed = compile_program(graph, images[:16], ring=ring)
    found, exact = run_reference(fixed.program, fixed.weights, images), run_onnx(model, images)
    assert set(np.unique(found)) == {0.0, 1.0}
    assert (found.sum(axis=1) == 1).all()
    assert len(np.unique(found.argmax(axis=1))) >= 4
    assert (found.argmax(axis=1) == exact.argmax(axis=1)).mean() >= 0.98
    assert fixed.program.head == ("argmax",)


def test_the_build_is_valid_and_says_what_it_reveals_and_how_far_off_its_logits_are(images, tmp_path):
    onnx.save(classifier(6), tmp_path / "model.onnx")
    np.save(tmp_path / "images.npy", images[:16])
    found = {}
    for reveal in ("logits", "argmax"):
        path = tmp_path / reveal
        found[reveal] = compile_model(
            tmp_path / "model.onnx", path, protocol="masked", calibrate_with=tmp_path / "images.npy", reveal=reveal
        )
        check_build(path)
        assert load_build(path / CLIENT, weights=False).program.reveals == reveal
    report = found["argmax"].report
    assert report["comparisons"] - found["logits"].report["comparisons"] == 3 * 6 - 1
    assert 0 < report["logits_error"] < 0.01
    assert report["certificate"][-1]["tensor"] == "logits.argmax"


def test_an_image_of_classes_is_refused_and_nothing_is_written(tmp_path):
    build = ModelBuilder((3, 6, 6))
    onnx.save(build.model(build.conv("image", "conv", 3, 4)), tmp_path / "model.onnx")
    with pytest.raises(Refusal, match="an argmax is computed of one vector"):
        compile_model(tmp_path / "model.onnx", tmp_path / "build", reveal="argmax")
    assert not (tmp_path / "build").exists()
