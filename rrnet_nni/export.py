"""A trained network to ONNX: standard operators, and X2act as an ONNX local function that any runtime can run."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from rrnet_nni.base.files import write_whole
from rrnet_nni.base.image_format import METADATA_KEY, ImageFormat
from rrnet_nni.fpga.compiler.onnx.layer_names import name_after_layers
from rrnet_nni.search_spaces.patch_relu import Relu2x2
from rrnet_nni.search_spaces.x2act import X2act

from .pixel_input import take_pixels

OPSET = 20
DOMAIN = "rrnet"
INPUT_NAME, OUTPUT_NAME = "image", "logits"


class _ExportedX2act(nn.Module):
    """X2act as one node of the `rrnet` domain, its coefficients as initializers."""

    k: torch.Tensor
    w2: torch.Tensor
    b: torch.Tensor

    def __init__(self, quadratic: torch.Tensor, linear: torch.Tensor, constant: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("k", quadratic)
        self.register_buffer("w2", linear)
        self.register_buffer("b", constant)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::X2act", (x, self.k, self.w2, self.b), dtype=x.dtype, shape=x.shape, version=1
        )


class _ExportedRelu2x2(nn.Module):
    """Relu2x2 as one node of the `rrnet` domain."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.onnx.ops.symbolic(f"{DOMAIN}::Relu2x2", (x,), dtype=x.dtype, shape=x.shape, version=1)


def export_onnx(
    network: nn.Module,
    image_shape: Sequence[int],
    path: Path,
    images: ImageFormat | None = None,
    *,
    pixels: bool = False,
) -> onnx.ModelProto:
    """Write `network` to `path`, BatchNorm folded, with a dynamic batch axis.

    Args:
        network: a frozen network; left as it is.
        image_shape: (C, H, W) of one normalized image.
        images: what the network knows of its images, which goes into the file's metadata.
        pixels: let the file take pixels 0..255 and normalize them by nodes of its own; needs `images`.
    """
    exportable = copy.deepcopy(network).cpu().float().eval()
    # The graph follows the layout: of weights that lie as N, H, W, C it flattens in many operators.
    exportable.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    _replace_activations(exportable)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            exportable,
            (torch.zeros(2, *image_shape),),
            dynamo=True,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: batch},),
            opset_version=OPSET,
            verbose=False,
        )
    if exported is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    model = exported.model_proto
    used = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    model.functions.extend(make() for name, make in _FUNCTIONS.items() if name in used)
    name_after_layers(model)
    for node in model.graph.node:
        del node.metadata_props[:]
    model.producer_name = "rrnet-nni"
    if images is not None:
        images = take_pixels(model, images) if pixels else images
        model.graph.name = images.task or model.graph.name
        model.metadata_props.add(key=METADATA_KEY, value=images.to_json())
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString(deterministic=True))
    return model


def _replace_activations(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, X2act):
            quadratic, linear, constant = (value.detach().clone() for value in child.coefficients())
            setattr(module, name, _ExportedX2act(quadratic, linear, constant))
        elif isinstance(child, Relu2x2):
            setattr(module, name, _ExportedRelu2x2())
        else:
            _replace_activations(child)


def _x2act_function() -> onnx.FunctionProto:
    """Eq. 4 in standard operators, with c·w1/√Nx, or normalized bases, folded into k, w2 and b."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Mul", ["k", "square"], ["quadratic"]),
        helper.make_node("Mul", ["w2", "x"], ["linear"]),
        helper.make_node("Add", ["quadratic", "linear"], ["sum"]),
        helper.make_node("Add", ["sum", "b"], ["y"]),
    ]
    return helper.make_function(DOMAIN, "X2act", ["x", "k", "w2", "b"], ["y"], nodes, [helper.make_opsetid("", OPSET)])


def _relu2x2_function() -> onnx.FunctionProto:
    """x · [mean of its patch of 2 x 2 pixels > 0] in standard operators; of odd images the mask is cut."""
    words = {"zero": np.float32(0), "twice": np.array([1, 1, 2, 2], np.float32), "axes": np.array([2, 3], np.int64)}
    words |= {"start": np.array([0, 0], np.int64)}
    nodes = [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))
             for name, value in words.items()]  # fmt: skip
    nodes += [
        helper.make_node("AveragePool", ["x"], ["mean"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        helper.make_node("Greater", ["mean", "zero"], ["positive"]),
        helper.make_node("CastLike", ["positive", "x"], ["mask"]),
        helper.make_node(
            "Resize",
            ["mask", "", "twice"],
            ["spread"],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        helper.make_node("Shape", ["x"], ["size"], start=2, end=4),
        helper.make_node("Slice", ["spread", "start", "size", "axes"], ["cut"]),
        helper.make_node("Mul", ["x", "cut"], ["y"]),
    ]
    return helper.make_function(DOMAIN, "Relu2x2", ["x"], ["y"], nodes, [helper.make_opsetid("", OPSET)])


#: Activations that no standard operator is, as local functions.
_FUNCTIONS = {"X2act": _x2act_function, "Relu2x2": _relu2x2_function}
