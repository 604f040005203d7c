"""The compiled networks of `exactness.py`, each built once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import NARROW, WHOLE, compile_program
from rrnet_nni.fpga.compiler.emit import write_build
from rrnet_nni.fpga.compiler.frontend import read_onnx
from rrnet_nni.search_spaces import SpaceOptions
from rrnet_nni.search_spaces.build import build_network, candidates_of

NETWORKS = {
    "resnet18-small": ("resnet18", SpaceOptions(image_size=16, width=0.0625)),
    "resnet18-pool": ("resnet18", SpaceOptions()),
    "resnet18-plain": ("resnet18", SpaceOptions(stem="plain")),
    "mobilenet_v2": ("mobilenet_v2", SpaceOptions()),
}
ACTIVATIONS = ("relu", "x2act", "mixed")
RING_OPTIONS = {"whole": WHOLE, "narrow": NARROW}
RINGS = tuple(RING_OPTIONS)
IMAGES = 16
_CANDIDATES = {"relu": ("relu", "maxpool"), "x2act": ("x2act", "avgpool")}


def ensure_build(root: Path, network: str, activations: str, rings: str) -> Path:
    """A build directory and, beside it, 16 images; a network whose normalization has seen images, but not trained.

    Args:
        root: where it lies.
        network: of NETWORKS.
        activations: all candidates of one kind, or `mixed`, the two in turn.
        rings: words of 32 bits, or as narrow as the calibrated ranges allow.
    """
    build = root / f"{network}-{activations}-{rings}"
    if build.exists():
        return build
    root.mkdir(parents=True, exist_ok=True)
    name, options = NETWORKS[network]
    torch.manual_seed(0)
    kinds = ("relu", "x2act") if activations == "mixed" else (activations,)
    choices = {
        label: next(choice for choice in _CANDIDATES[kinds[place % len(kinds)]] if choice in candidates)
        for place, (label, candidates) in enumerate(candidates_of(name, options).items())
    }
    model = build_network(name, options, choices)
    images = torch.randn(IMAGES, options.channels, options.image_size, options.image_size)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    graph = root / f"{build.name}.onnx"
    export_onnx(model.eval(), tuple(images.shape[1:]), graph)
    fixed = compile_program(read_onnx(graph), images.numpy(), ring=RING_OPTIONS[rings])
    graph.unlink()
    np.save(root / f"{build.name}.npy", images.numpy())
    return write_build(build, fixed.program, fixed.weights, {"device": "zcu104", "protocol": "beaver-ot"})
