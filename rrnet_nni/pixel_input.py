"""A network that takes pixels: its normalization as nodes of the graph, for runtimes that would not do it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rrnet_nni.base.image_format import ImageFormat

NODES = ("normalization.scale", "normalization.shift")


def take_pixels(model: onnx.ModelProto, images: ImageFormat) -> ImageFormat:
    """Put `(pixel / scale - mean) / std` in front of a model, in place; returns what it knows of its images then.

    A bound of contrast stays with whoever hands over the pixels: the format that is returned says it, of pixels.
    """
    graph = model.graph
    image = graph.input[0].name
    std, mean = (np.array(values, dtype=np.float64).reshape(1, -1, 1, 1) for values in (images.std, images.mean))
    for node in graph.node:
        node.input[:] = [NODES[1] if name == image else name for name in node.input]
    inputs = (image, NODES[0])
    operands = (1 / (images.scale * std), -mean / std)
    for index, operator in enumerate(("Mul", "Add")):
        operand = f"{NODES[index]}.operand"
        graph.initializer.append(numpy_helper.from_array(operands[index].astype(np.float32), operand))
        graph.node.insert(
            index, helper.make_node(operator, [inputs[index], operand], [NODES[index]], name=NODES[index])
        )
    bound = None if images.contrast_bound is None else images.contrast_bound * images.scale
    zeros, ones = (0.0,) * images.channels, (1.0,) * images.channels
    return replace(images, mean=zeros, std=ones, scale=1.0, contrast_bound=bound)


def pixels_of_normalized(normalized: np.ndarray, images: ImageFormat) -> np.ndarray:
    """The pixels 0..255, float32 [N, C, H, W], that became these normalized images; whole where nothing bounds them."""
    std, mean = (np.array(values).reshape(-1, 1, 1) for values in (images.std, images.mean))
    pixels = (normalized.astype(np.float64) * std + mean) * images.scale
    whole = pixels if images.contrast_bound is not None else np.rint(pixels)
    return whole.clip(0, 255).astype(np.float32)
