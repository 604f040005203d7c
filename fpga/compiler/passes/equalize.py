"""Channels of very different ranges in one tensor: scaled to one range between the products that can take the factors.

A tensor has one format, so a channel that is 300 times smaller than another loses eight bits. Where a convolution makes
a tensor and only convolutions and linear layers read it, through ReLUs, poolings, pads and concatenations, each channel
may be computed as a multiple, a power of two, as `ScaleTensors` computes whole tensors.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..fixed_point.calibration import Calibration
from ..graph import AnyNode, AvgPool, Combine, Concat, Conv, Graph, Linear, MaxPool, Pad, Relu
from .scales import rescaled

#: Channels whose ranges are closer than this share a format without loss worth a word.
WIDE_SPREAD = 16.0
LARGEST_FACTOR = 2.0**12
#: A scaled channel stays so much below the widest one: it may have been rare in the calibration images.
CHANNEL_HEADROOM = 4.0
#: Of so few numbers, the largest says little of a channel: by chance it is near zero, and the next image's is not.
LEAST_SAMPLES = 256


def equalize(graph: Graph, calibration: Calibration) -> tuple[Graph, Calibration]:
    """The graph with wide tensors equalized, and what calibration would have seen of it."""
    targets = _targets(graph, calibration)
    factors: dict[str, np.ndarray] = {graph.input: np.ones(1)}
    for node in graph.nodes:
        factors[node.output] = _factor(node, graph, calibration, targets, factors)
    if all((factor == 1).all() for factor in factors.values()):
        return graph, calibration
    seen, channels, powers = dict(calibration.seen), dict(calibration.channels), dict(calibration.powers)
    for name, factor in factors.items():
        if name in channels and (factor != 1).any():
            channels[name] = channels[name] * factor
            seen[name] = float(channels[name].max())
            powers[name] = powers[name] * factor**2
    scales = dict(graph.scales) | {
        name: graph.scales.get(name, np.ones(1)) * factor for name, factor in factors.items() if (factor != 1).any()
    }
    scaled = replace(graph, scales=scales).with_nodes(rescaled(node, factors) for node in graph.nodes)
    return scaled, replace(calibration, seen=seen, channels=channels, powers=powers, exact={})


def _passes_factors_on(node: AnyNode) -> bool:
    plain = isinstance(node, Relu) and node.ceiling is None
    return plain or isinstance(node, MaxPool | AvgPool | Pad | Concat)


def _targets(graph: Graph, calibration: Calibration) -> dict[str, float]:
    """Tensors whose channels may be scaled, and the range that they are scaled to; backwards from the readers."""
    readers: dict[str, list[AnyNode]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    targets: dict[str, float] = {}
    for node in reversed(graph.nodes):
        name = node.output
        read_by = readers.get(name, [])
        passing = [reader for reader in read_by if _passes_factors_on(reader)]
        absorbed = all(isinstance(reader, Conv | Linear) or reader in passing for reader in read_by)
        ranges = calibration.channels.get(name)
        free = absorbed and all(reader.output in targets for reader in passing)
        if name == graph.output or not read_by or ranges is None or not free:
            continue
        joined = [targets[reader.output] for reader in passing if isinstance(reader, Concat)]
        targets[name] = max([float(ranges.max()), *joined])
    return targets


def _factor(
    node: AnyNode,
    graph: Graph,
    calibration: Calibration,
    targets: dict[str, float],
    factors: dict[str, np.ndarray],
) -> np.ndarray:
    if node.output not in targets:
        return np.ones(1)
    if isinstance(node, Concat):
        parts = [np.broadcast_to(factors[name], graph.shapes[name][:1]) for name in node.inputs]
        return np.concatenate(parts)
    if _passes_factors_on(node):
        return factors[node.inputs[0]]
    if not (isinstance(node, Conv | Linear) or (isinstance(node, Combine) and len(node.inputs) == 1)):
        return np.ones(1)
    if calibration.images * math.prod(graph.shapes[node.output][1:]) < LEAST_SAMPLES:
        return np.ones(1)
    ranges, target = calibration.channels[node.output], targets[node.output]
    if target == 0 or target < WIDE_SPREAD * float(np.where(ranges > 0, ranges, target).min()):
        return np.ones(1)
    wanted = np.exp2(np.floor(np.log2(target / np.where(ranges > 0, ranges, target) / CHANNEL_HEADROOM)))
    return np.asarray(np.clip(wanted, 1.0, LARGEST_FACTOR))
