"""The compiled networks of `exactness.py`, each built once."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import torch

from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import NARROW, WHOLE, FixedPoint, compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.search_spaces import NormalizedX2act, SpaceOptions
from rrnet_nni.search_spaces.build import build_network, candidates_of

#: MobileNetV2's many squares in normalized bases explode where nothing was trained.
NETWORKS = {
    "resnet18-small": ("resnet18", SpaceOptions(image_size=16, width=0.0625)),
    "resnet18-pool": ("resnet18", SpaceOptions()),
    "resnet18-plain": ("resnet18", SpaceOptions(stem="plain")),
    "mobilenet_v2": ("mobilenet_v2", SpaceOptions(x2act="plain")),
}
ACTIVATIONS = ("relu", "x2act", "mixed")
RING_OPTIONS = {"whole": WHOLE, "narrow": NARROW}
RINGS = tuple(RING_OPTIONS)
IMAGES = 16
_CANDIDATES = {"relu": ("relu", "maxpool"), "x2act": ("x2act", "avgpool")}


@functools.cache
def compiled(network: str, activations: str, ring: str) -> tuple[FixedPoint, np.ndarray]:
    """A network whose normalization has seen 16 images, but which was not trained, and these images.

    Args:
        network: of NETWORKS.
        activations: all candidates of one kind, or `mixed`, the two in turn.
        ring: as `compile_program` takes it.
    """
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
        if isinstance(module, torch.nn.BatchNorm2d | NormalizedX2act):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        export_onnx(model.eval(), tuple(images.shape[1:]), graph)
        return compile_program(read_onnx(graph), images.numpy(), ring=ring), images.numpy()


def ensure_build(root: Path, network: str, activations: str, rings: str) -> Path:
    """A build directory of a compiled network and, beside it, its images; `rings` is of RINGS."""
    build = root / f"{network}-{activations}-{rings}"
    if build.exists():
        return build
    root.mkdir(parents=True, exist_ok=True)
    fixed, images = compiled(network, activations, RING_OPTIONS[rings])
    np.save(root / f"{build.name}.npy", images)
    return write_build(build, fixed.program, fixed.weights, {"device": "zcu104", "protocol": "beaver-ot"})
