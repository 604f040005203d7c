"""Fold scales and shifts (BatchNorm, a bias that is added apart) into the weights before them."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..graph import AnyNode, Combine, Conv, Graph, Linear


class FoldAffine:
    """Conv or Linear, then a per-channel affine map that alone reads it: one node."""

    name: ClassVar[str] = "fold-affine"
    gain: ClassVar[str] = "no product and no truncation for BatchNorm"
    required: ClassVar[bool] = False

    def apply(self, graph: Graph) -> tuple[Graph, bool]:
        uses = graph.uses()
        nodes: list[AnyNode] = []
        position: dict[str, int] = {}
        changed = False
        for node in graph.nodes:
            if isinstance(node, Combine) and len(node.inputs) == 1 and uses[node.inputs[0]] == 1:
                at = position.get(node.inputs[0])
                before = nodes[at] if at is not None else None
                if at is not None and isinstance(before, Conv | Linear):
                    nodes[at] = _scaled(before, node)
                    position[node.output] = at
                    changed = True
                    continue
            position[node.output] = len(nodes)
            nodes.append(node)
        return graph.with_nodes(nodes), changed


def _scaled(node: Conv | Linear, affine: Combine) -> Conv | Linear:
    outputs = node.weight.shape[0]
    scale = np.broadcast_to(affine.scales[0], (outputs,))
    weight = node.weight * scale.reshape(-1, *(1,) * (node.weight.ndim - 1))
    return replace(node, output=affine.output, weight=weight, bias=node.bias * scale + affine.addend)
