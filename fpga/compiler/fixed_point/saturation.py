"""Where a quantized model's integers end: values that matter are cut off there, as the model does.

Quantizing tools leave out an activation that the ends of the integers cut off anyway, a ReLU6 among them: then the end
is part of the network. Elsewhere it is only as far as some calibration images reached, and comparing would be for
nothing. Images tell the two apart.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from rrnet_nni.base.errors import Refusal

from ..float_interpreter import evaluate_node
from ..graph import AnyNode, Combine, Graph, Reach, Relu
from .calibration import DEFAULT_IMAGES, assumed_images

#: What is cut off may be so much of a tensor, by the root mean square, before it is computed.
TOLERANCE = 0.01


def keep_saturation(graph: Graph, images: np.ndarray | None) -> Graph:
    """The graph with comparisons where some of the images would be cut off by more than the tolerance.

    Args:
        images: float32 [N, *input shape] of calibration; without them those that calibration assumes.

    Raises:
        Refusal: channels that are cut off in different places.
    """
    if not graph.reaches:
        return graph
    sample = (assumed_images(graph) if images is None else images)[:DEFAULT_IMAGES]
    values = {graph.input: np.asarray(sample, np.float32)}
    uses, remaining, shapes = graph.uses(), graph.uses(), dict(graph.shapes)
    nodes: list[AnyNode] = []
    for node in graph.nodes:
        value = evaluate_node(node, [values[name] for name in node.inputs])
        reach = graph.reaches.get(node.output)
        if reach is None:
            nodes.append(node)
        else:
            low, high = _matters(value, reach)
            if reach.per_channel and (low or high):
                raise Refusal(
                    f"tensor {node.output!r} goes beyond its integers, which differ between channels: "
                    "quantize activations with one scale per tensor"
                )
            merged = high and reach.least == 0 and _alone_reads_relu(node, nodes, uses)
            copy = replace(node, inputs=nodes.pop().inputs) if merged else node
            shape = shapes[node.output]
            nodes += (cut := _cut(copy, reach, low, high))
            shapes |= {each.output: shape for each in cut}
            value = np.clip(value, reach.least if low else None, reach.largest if high else None)
        values[node.output] = value
        for name in node.inputs:
            remaining[name] -= 1
            if not remaining[name]:
                values.pop(name, None)
    return replace(graph, shapes=shapes, reaches={}).with_nodes(nodes)


def _alone_reads_relu(copy: AnyNode, nodes: list[AnyNode], uses: Counter[str]) -> bool:
    """Whether the last node is a ReLU without a ceiling that nothing else reads."""
    last = nodes[-1] if nodes else None
    plain = isinstance(last, Relu) and last.ceiling is None
    return plain and last is not None and last.output == copy.inputs[0] and uses[last.output] == 1


def _matters(value: np.ndarray, reach: Reach) -> tuple[bool, bool]:
    """Whether what lies below and above the reach is more than the tolerance."""
    allowed = TOLERANCE * float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
    below, above = (np.maximum(excess, 0) for excess in (reach.least - value, value - reach.largest))
    low, high = (bool(np.sqrt(np.mean(np.square(each, dtype=np.float64))) > allowed) for each in (below, above))
    return low, high


def _cut(copy: AnyNode, reach: Reach, low: bool, high: bool) -> list[AnyNode]:
    """max(x, l) = relu(x - l) + l, min(x, h) = h - relu(h - x), or both as one clip."""
    if not (low or high):
        return [copy]
    shifted, kept = f"{copy.output}.shifted", f"{copy.output}.kept"
    sign, end = (1.0, reach.least) if low or reach.least == 0 else (-1.0, reach.largest)
    ceiling = reach.largest - reach.least if high and sign > 0 else None
    if end == 0:
        return [Relu(copy.name, copy.inputs, copy.output, ceiling)]
    return [
        Combine(f"{copy.name}.shifted", copy.inputs, shifted, (np.array([sign]),), np.array([-sign * end])),
        Relu(f"{copy.name}.kept", (shifted,), kept, ceiling),
        Combine(copy.name, (kept,), copy.output, (np.array([sign]),), np.array([end])),
    ]
