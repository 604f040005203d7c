"""What a how-to supposes that its reader has: a classifier in ONNX with its images, or a build of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_model

CLASSES, PIXELS, CHANNELS = 10, 16, 8


def give(what: str, folder: Path) -> None:
    """Put `model` (model.onnx, images.npy), and for `build` also build/ under `masked`, into the folder."""
    if what not in ("model", "build"):
        raise Refusal(f"a walk is given 'model' or 'build', not {what!r}")
    onnx.save(_model(), folder / "model.onnx")
    images = np.random.default_rng(1).normal(size=(8, 3, PIXELS, PIXELS)).astype(np.float32)
    np.save(folder / "images.npy", images)
    if what == "build":
        compile_model(folder / "model.onnx", folder / "build", "zcu104", "masked", folder / "images.npy")


def _model() -> onnx.ModelProto:
    """Convolution, ReLU, MaxPool, linear layer, with random weights."""
    random = np.random.default_rng(0)
    features = CHANNELS * (PIXELS // 2) ** 2
    weights = {
        "conv.weight": random.normal(size=(CHANNELS, 3, 3, 3)) / 5,
        "conv.bias": random.normal(size=CHANNELS) / 5,
        "fc.weight": random.normal(size=(CLASSES, features)) / np.sqrt(features),
        "fc.bias": random.normal(size=CLASSES) / 5,
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["conv"], "/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], "/relu"),
        helper.make_node("MaxPool", ["relu"], ["pool"], "/pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"], "/flatten"),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], "/fc", transB=1),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, PIXELS, PIXELS])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, "classifier", [image], [logits], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
