"""Numbers per channel that no convolution before could take, of a BatchNorm above all, stay secrets of the server."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..graph import AnyNode, Combine, Conv, Graph, Linear, Shape


class SecretNorms:
    """A scale or shift that differs between channels becomes part of a product with secret weights.

    The layers that read it take it, where none pads its zeros around it; else it becomes a depthwise 1x1 convolution
    (a diagonal product of features). One number for all channels stays public: `Combine`.
    """

    name: ClassVar[str] = "secret-norms"
    gain: ClassVar[str] = "no number of the model per channel in the public program"
    required: ClassVar[bool] = True

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        readers: dict[str, list[AnyNode]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                readers.setdefault(name, []).append(node)
        nodes: list[AnyNode] = []
        taken: dict[str, Combine] = {}
        for node in graph.nodes:
            if isinstance(node, Conv | Linear) and node.inputs[0] in taken:
                nodes.append(_taking(node, taken[node.inputs[0]]))
            elif not (isinstance(node, Combine) and _is_norm(node)):
                nodes.append(node)
            elif node.output != graph.output and all(map(_takes, readers.get(node.output, ()))):
                taken[node.output] = node
            else:
                shape = graph.shapes[node.output]
                nodes.append(channel_product(node.name, node.inputs, node.output, shape, node.scales[0], node.addend))
        changed = len(nodes) < len(graph.nodes) or any(a is not b for a, b in zip(nodes, graph.nodes))
        return graph.with_nodes(nodes), changed


def _is_norm(node: Combine) -> bool:
    """Whether it scales or shifts one tensor by numbers that differ between its channels."""
    return len(node.inputs) == 1 and any(len(np.unique(value)) > 1 for value in (node.scales[0], node.addend))


def _takes(node: AnyNode) -> bool:
    return isinstance(node, Linear) or (isinstance(node, Conv) and not any(node.padding))


def _taking(node: Conv | Linear, norm: Combine) -> Conv | Linear:
    """W (s x + a) + b = (W s) x + (W a + b)."""
    outputs, per_group = node.weight.shape[:2]
    groups = node.groups if isinstance(node, Conv) else 1
    rest = (1,) * (node.weight.ndim - 2)

    def of_outputs(values: np.ndarray) -> np.ndarray:
        spread = np.broadcast_to(values, (per_group * groups,)).reshape(groups, per_group)
        return np.repeat(spread, outputs // groups, axis=0).reshape(outputs, per_group, *rest)

    shift = (node.weight * of_outputs(norm.addend)).reshape(outputs, -1).sum(axis=1)
    return replace(node, inputs=norm.inputs, weight=node.weight * of_outputs(norm.scales[0]), bias=node.bias + shift)


def channel_product(
    name: str, inputs: tuple[str, ...], output: str, shape: Shape, scale: np.ndarray, bias: np.ndarray
) -> Conv | Linear:
    """scale * x + bias as a product with secret weights: depthwise of an image, diagonal of features."""
    channels, *image = shape
    scale, bias = (np.broadcast_to(value, (channels,)).copy() for value in (scale, bias))
    if image:
        return Conv(name, inputs, output, weight=scale.reshape(-1, 1, 1, 1), bias=bias, groups=channels)
    return Linear(name, inputs, output, weight=np.diag(scale), bias=bias)
