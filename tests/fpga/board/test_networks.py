"""Compiled networks execute bit for bit as the fixed-point reference and send what is predicted, in every protocol.

And with every kind of preprocessing that there is for it.
"""

import functools
import tempfile
from pathlib import Path

import pytest
import torch

from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.board.conformance import disagreement, preparation_mismatch, traffic_mismatch
from rrnet_nni.fpga.board.executions import EXECUTIONS
from rrnet_nni.fpga.board.two_party_prepare import PREPARATIONS
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.frontend import read_onnx
from rrnet_nni.fpga.compiler.rings import RINGS, WHOLE
from rrnet_nni.search_spaces import SpaceOptions
from rrnet_nni.search_spaces.build import build_network, candidates_of

CHOICES = {"relu": ("relu", "maxpool"), "x2act": ("x2act", "avgpool")}
LARGE = {
    "resnet18": ("resnet18", SpaceOptions()),
    "resnet18-plain": ("resnet18", SpaceOptions(stem="plain")),
    "mobilenet_v2": ("mobilenet_v2", SpaceOptions()),
}
SMALL = {"resnet18-narrow": ("resnet18", SpaceOptions(image_size=16, width=0.0625))}

#: Protocol, preprocessing and the rings of the build: `beaver-ot` opens whole words whatever they are.
WAYS = [
    (name, preprocessing, ring)
    for preprocessing, names in (("dealer", EXECUTIONS), ("two-party", PREPARATIONS))
    for name in names
    for ring in (RINGS if name.startswith("masked") else (WHOLE,))
]

pytestmark = pytest.mark.parametrize(("protocol", "preprocessing", "ring"), WAYS, ids=["-".join(way) for way in WAYS])


@functools.cache
def compiled(network, activations, ring):
    """Program, weights and 16 images of a network whose normalization has seen images, but not been trained."""
    name, options = (LARGE | SMALL)[network]
    torch.manual_seed(0)
    kinds = ("relu", "x2act") if activations == "mixed" else (activations,)
    choices = {
        label: next(choice for choice in CHOICES[kinds[place % len(kinds)]] if choice in candidates)
        for place, (label, candidates) in enumerate(candidates_of(name, options).items())
    }
    model = build_network(name, options, choices)
    images = torch.randn(16, options.channels, options.image_size, options.image_size)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(model.eval(), tuple(images.shape[1:]), path)
        fixed = compile_program(read_onnx(path), images.numpy(), ring=ring)
    return fixed.program, fixed.weights, images.numpy()


def check(network, activations, batch, protocol, preprocessing, ring):
    program, weights, images = compiled(network, activations, ring)
    execution = EXECUTIONS[protocol]
    assert disagreement(program, weights, images[:batch], execution, preprocessing) is None


@pytest.mark.parametrize("network", SMALL)
def test_a_small_network_executes_bit_for_bit(protocol, preprocessing, ring, network):
    check(network, "mixed", 2, protocol, preprocessing, ring)
    program, weights, images = compiled(network, "mixed", ring)
    if preprocessing == "two-party":
        assert preparation_mismatch(program, 2, EXECUTIONS[protocol]) is None
    else:
        assert traffic_mismatch(program, weights, images[:2], EXECUTIONS[protocol]) is None


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("activations", ["relu", "x2act", "mixed"])
@pytest.mark.parametrize("network", LARGE | SMALL)
def test_a_network_executes_bit_for_bit(protocol, preprocessing, ring, network, activations, batch):
    if protocol == "masked-dcf" and batch > 1 and network in LARGE:
        pytest.skip("both parties in one process would hold 800 B of keys per comparison and image")
    check(network, activations, batch, protocol, preprocessing, ring)
