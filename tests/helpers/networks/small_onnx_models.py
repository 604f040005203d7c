"""Small ONNX classifiers for tests, made with onnx.helper and run with onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def x2act_function() -> onnx.FunctionProto:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["xx"]),
        helper.make_node("Mul", ["k", "xx"], ["kxx"]),
        helper.make_node("Mul", ["w2", "x"], ["wx"]),
        helper.make_node("Add", ["kxx", "wx"], ["sum"]),
        helper.make_node("Add", ["sum", "b"], ["y"]),
    ]
    return helper.make_function("rrnet", "X2act", ["x", "k", "w2", "b"], ["y"], nodes, [helper.make_opsetid("", OPSET)])


class ModelBuilder:
    """Nodes and initializers by hand; every method returns the name of its output."""

    def __init__(self, shape: tuple[int, ...] = (3, 16, 16), seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.shape = shape
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray | float) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def node(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=f"/{name}", **attributes))
        return name

    def conv(
        self, x: str, name: str, channels: int, out: int, kernel: int = 3, groups: int = 1, stride: int = 1
    ) -> str:
        fan_in = channels // groups * kernel * kernel
        weight = self.generator.normal(size=(out, channels // groups, kernel, kernel)) * np.sqrt(2 / fan_in)
        inputs = [
            x,
            self.constant(f"{name}.weight", weight),
            self.constant(f"{name}.bias", self.generator.normal(size=out)),
        ]
        pad = kernel // 2
        return self.node("Conv", inputs, name, pads=[pad] * 4, strides=[stride] * 2, group=groups)

    def batch_norm(self, x: str, name: str, channels: int) -> str:
        values = {
            "scale": self.generator.uniform(0.5, 1.5, channels),
            "bias": self.generator.normal(size=channels) * 0.1,
            "mean": self.generator.normal(size=channels) * 0.1,
            "var": self.generator.uniform(0.5, 2, channels),
        }
        return self.node("BatchNormalization", [x, *(self.constant(f"{name}.{k}", v) for k, v in values.items())], name)

    def x2act(self, x: str, name: str, k: float, w2: float, b: float) -> str:
        inputs = [x, *(self.constant(f"{name}.{n}", v) for n, v in (("k", k), ("w2", w2), ("b", b)))]
        self.nodes.append(helper.make_node("X2act", inputs, [name], name=f"/{name}", domain="rrnet"))
        return name

    def gemm(self, x: str, name: str, features: int, out: int) -> str:
        weight = self.generator.normal(size=(out, features)) / np.sqrt(features)
        inputs = [
            x,
            self.constant(f"{name}.weight", weight),
            self.constant(f"{name}.bias", self.generator.normal(size=out)),
        ]
        return self.node("Gemm", inputs, name, transB=1)

    def model(self, output: str, batch: str | int = "batch", opset: int = OPSET) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *self.shape])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, "classes"])],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("rrnet", 1)]
        model = helper.make_model(graph, opset_imports=opsets, functions=[x2act_function()], ir_version=9)
        onnx.checker.check_model(model)
        return model


def mixed_model(image_size: int = 16, seed: int = 0) -> onnx.ModelProto:
    """Convolutions, BatchNorm, ReLU, MaxPool, X2act, AvgPool, a residual addition and a linear layer."""
    build = ModelBuilder((3, image_size, image_size), seed)
    x = build.batch_norm(build.conv("image", "stem", 3, 8), "stem_bn", 8)
    x = build.node(
        "MaxPool", [build.node("Relu", [x], "relu")], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4
    )
    y = build.x2act(build.conv(x, "conv1", 8, 8), "x2act1", 0.02, 0.9, 0.1)
    y = build.conv(y, "conv2", 8, 8)
    x = build.x2act(build.node("Add", [x, y], "add"), "x2act2", 0.013, 1.1, -0.05)
    x = build.node("AveragePool", [x], "avgpool", kernel_shape=[2, 2], strides=[2, 2])
    x = build.node("Relu", [build.conv(x, "depthwise", 8, 8, groups=8)], "relu2")
    x = build.node("GlobalAveragePool", [build.conv(x, "pointwise", 8, 16, kernel=1)], "global")
    return build.model(build.gemm(build.node("Flatten", [x], "flatten"), "logits", 16, 10))


def sliced_model(kinds: str = "rrpir", whole: bool = False, seed: int = 3) -> onnx.ModelProto:
    """Two activations, the second behind a residual addition, whose slices of channels are of several kinds.

    Args:
        kinds: a letter for each slice of two channels: `r` ReLU, `p` X2act, `i` nothing.
        whole: one activation of the first letter's kind in place of the slices.
    """
    build, channels = ModelBuilder((3, 8, 8), seed), 2 * len(kinds)

    def activation(x: str, label: str) -> str:
        if whole:
            return act(kinds[0], x, label)
        parts = [f"{label}.{number}.in" for number in range(len(kinds))]
        sizes = numpy_helper.from_array(np.full(len(kinds), 2, np.int64), f"{label}.sizes")
        build.initializers.append(sizes)
        build.nodes.append(helper.make_node("Split", [x, sizes.name], parts, name=f"/{label}.split", axis=1))
        made = [act(kind, part, f"{label}.{number}") for number, (kind, part) in enumerate(zip(kinds, parts))]
        return build.node("Concat", made, label, axis=1)

    def act(kind: str, x: str, label: str) -> str:
        if kind == "i":
            return x
        return build.node("Relu", [x], label) if kind == "r" else build.x2act(x, label, 0.03, 0.9, 0.1)

    x = activation(build.conv("image", "first", 3, channels), "act1")
    y = build.conv(x, "second", channels, channels)
    x = activation(build.node("Add", [y, x], "add"), "act2")
    x = build.node("GlobalAveragePool", [build.conv(x, "third", channels, 6, stride=2)], "mean")
    return build.model(build.gemm(build.node("Flatten", [x], "flat"), "logits", 6, 4))


def run_onnx(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})[0]
