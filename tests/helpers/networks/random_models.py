"""Small classifiers made at random in four families, as ONNX, with every trained number of theirs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FAMILIES = ("resnet", "pre-activation", "densenet", "mobilenet")


class RandomModel:
    """A network of one family; `secrets` are its arrays by name."""

    def __init__(self, family: str, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self.secrets: dict[str, np.ndarray] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._size = int(self._generator.choice([6, 8]))
        channels = int(self._generator.integers(3, 7))
        x = self._conv("image", 3, channels, 3)
        if family in ("resnet", "mobilenet"):
            x = self._relu(self._norm(x, channels))
        for _ in range(int(self._generator.integers(1, 3))):
            x, channels = getattr(self, f"_{family.replace('-', '_')}")(x, channels)
        x = self._node("Flatten", [self._node("GlobalAveragePool", [x])])
        weight, bias = self._secret((5, channels)), self._secret((5,))
        self._node("Gemm", [x, weight, bias], output="logits", transB=1)
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, self._size, self._size])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 5])
        initializers = [numpy_helper.from_array(array, name) for name, array in self.secrets.items()]
        graph = helper.make_graph(self._nodes, family, [image], [logits], initializers)
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def images(self, count: int) -> np.ndarray:
        """Images for calibration, float32."""
        return self._generator.normal(size=(count, 3, self._size, self._size)).astype(np.float32)

    def _secret(self, shape: tuple[int, ...], mean: float = 0.0, spread: float = 0.3) -> str:
        name = f"secret{len(self.secrets)}"
        self.secrets[name] = (mean + spread * self._generator.standard_normal(shape)).astype(np.float32)
        return name

    def _node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: object) -> str:
        result = output or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [result], name=result, **attributes))
        return result

    def _conv(self, x: str, inputs: int, outputs: int, kernel: int, groups: int = 1) -> str:
        weight = self._secret((outputs, inputs // groups, kernel, kernel))
        half = kernel // 2
        return self._node("Conv", [x, weight], kernel_shape=[kernel] * 2, pads=[half] * 4, group=groups)

    def _norm(self, x: str, channels: int) -> str:
        parameters = [self._secret((channels,), 1.0, 0.1), self._secret((channels,)), self._secret((channels,))]
        parameters.append(self._secret((channels,), 1.5, 0.1))
        return self._node("BatchNormalization", [x, *parameters], epsilon=1e-5)

    def _relu(self, x: str) -> str:
        return self._node("Relu", [x])

    def _resnet(self, x: str, channels: int) -> tuple[str, int]:
        inner = self._relu(self._norm(self._conv(x, channels, channels, 3), channels))
        inner = self._norm(self._conv(inner, channels, channels, 3), channels)
        return self._relu(self._node("Add", [inner, x])), channels

    def _pre_activation(self, x: str, channels: int) -> tuple[str, int]:
        inner = self._conv(self._relu(self._norm(x, channels)), channels, channels, 3)
        inner = self._conv(self._relu(self._norm(inner, channels)), channels, channels, 3)
        return self._node("Add", [inner, x]), channels

    def _densenet(self, x: str, channels: int) -> tuple[str, int]:
        grown = self._conv(self._relu(self._norm(x, channels)), channels, 4, 3)
        return self._node("Concat", [x, grown], axis=1), channels + 4

    def _mobilenet(self, x: str, channels: int) -> tuple[str, int]:
        wide = 2 * channels
        inner = self._relu(self._norm(self._conv(x, channels, wide, 1), wide))
        inner = self._relu(self._norm(self._conv(inner, wide, wide, 3, wide), wide))
        inner = self._norm(self._conv(inner, wide, channels, 1), channels)
        return self._node("Add", [inner, x]), channels
