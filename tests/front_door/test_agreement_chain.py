"""One model, seven views of it: supernet, frozen, trained, ONNX, fixed point, two parties, two accelerators.

The walk compares each view with the one before, layer by layer, and names the first layer that diverges. The network
has a ReLU, an X2act, a MaxPool, an AvgPool, a residual addition and a linear layer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.one_hot import one_hot_supernet
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import model_context
from torch import Tensor, nn

from rrnet_nni.base.compatibility import freeze_apart
from rrnet_nni.evaluators.images.data import DataOptions, ImageDataset, load_dataset
from rrnet_nni.evaluators.training import TrainingOptions, train_network
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.hls.simulator import find_cxx
from rrnet_nni.fpga.program.build import Build, load_build
from rrnet_nni.fpga.program.reference import decode_tensor, encode_images, run_reference
from rrnet_nni.fpga.protocols import get_execution
from rrnet_nni.fpga.runtime.commands.run import main as run_parties
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.session.conformance import first_divergence
from rrnet_nni.search_spaces import SpaceOptions
from rrnet_nni.search_spaces.gates import Gates, Pooling
from rrnet_nni.search_spaces.layers import Classifier, ConvPlan

OPTIONS = SpaceOptions(classes=10, image_size=16, channels=1)
CHOICES = {
    "first.act": "relu",
    "first.pool": "maxpool",
    "second.act": "x2act",
    "third.act": "relu",
    "fourth.act": "x2act",
    "fourth.pool": "avgpool",
}
UNITS = ("first", "second", "third", "fourth", "classifier")
View = Mapping[str, np.ndarray]


class EveryOperator(ModelSpace):
    """A small space with every operator of the project."""

    def __init__(self) -> None:
        super().__init__()
        gates = Gates(OPTIONS)
        self.first = gates.conv_act_pool(
            "first.act", ConvPlan("first", 1, 8, 3), (8, 16, 16), Pooling("first.pool", 3, 2, 1)
        )
        self.second = gates.conv_act("second.act", ConvPlan("second", 8, 8, 3), (8, 8, 8))
        self.third = gates.residual_act("third.act", "third.add", ConvPlan("third", 8, 8, 3), (8, 8, 8))
        self.fourth = gates.conv_act_pool(
            "fourth.act", ConvPlan("fourth", 8, 16, 3), (16, 8, 8), Pooling("fourth.pool", 2, 2)
        )
        self.classifier = Classifier((16, 4, 4), 10)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return self.classifier(self.fourth(self.third((self.second(first), first))))


@dataclass(frozen=True)
class Chain:
    """Everything that the walk needs, made once."""

    dataset: ImageDataset
    supernet: nn.Module
    frozen: nn.Module
    trained: nn.Module
    reloaded: nn.Module
    model: Path
    build: Build
    images: np.ndarray


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    torch.manual_seed(0)
    dataset = load_dataset(DataOptions(train_images=300, test_images=40))
    supernet = one_hot_supernet(EveryOperator(), CHOICES)
    train_network(supernet, dataset, TrainingOptions(epochs=1, batch_size=50))
    frozen = freeze_apart(supernet, CHOICES).eval()
    trained = freeze_apart(supernet, CHOICES)
    train_network(trained, dataset, TrainingOptions(epochs=2, batch_size=50))
    torch.save(trained.state_dict(), folder / "weights.pt")
    with model_context(CHOICES):
        reloaded = EveryOperator()
    reloaded.load_state_dict(torch.load(folder / "weights.pt"))
    model = folder / "model.onnx"
    export_onnx(reloaded, (1, 16, 16), model)
    images = dataset.normalized(dataset.test_images).numpy()
    calibration = folder / "calibration.npy"
    np.save(calibration, dataset.normalized(dataset.train_images).numpy())
    compile_model(model, folder / "build", calibrate_with=calibration)
    build = load_build(folder / "build")
    return Chain(dataset, supernet.eval(), frozen, trained.eval(), reloaded.eval(), model, build, images)


def torch_view(network: nn.Module, images: np.ndarray, names: Callable[[str, nn.Module], bool]) -> View:
    """Outputs of the modules that `names` picks, in forward order, under their paths."""
    seen: dict[str, np.ndarray] = {}

    def record(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: seen.update({name: output.detach().numpy()})

    handles = [
        module.register_forward_hook(record(name)) for name, module in network.named_modules() if names(name, module)
    ]
    with torch.no_grad():
        network(torch.from_numpy(images))
    for handle in handles:
        handle.remove()
    return seen


def units_of(network: nn.Module, images: np.ndarray) -> View:
    return torch_view(network, images, lambda name, module: name in UNITS)


def leaves_of(network: nn.Module, images: np.ndarray) -> View:
    return torch_view(network, images, lambda name, module: bool(name) and not any(module.children()))


def onnx_tensors(path: Path, images: np.ndarray) -> dict[str, tuple[str, np.ndarray]]:
    """Node name -> (output tensor's name, its value in onnxruntime), in the order of the graph."""
    model = onnx.load(path)
    named = {node.name: node.output[0] for node in model.graph.node}
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in named.values() if name not in known)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(list(named.values()), {"image": images})
    return {name: (tensor, value) for (name, tensor), value in zip(named.items(), values)}


def first_divergent(expected: View, found: View, tolerance: float) -> str | None:
    """Name of the first layer of `expected` that is missing in `found` or differs by more than `tolerance`."""
    for name, value in expected.items():
        if name not in found or value.shape != found[name].shape:
            return name
        if not np.abs(value.astype(np.float64) - found[name]).max() <= tolerance:
            return name
    return None


def fixed_point_view(build: Build, images: np.ndarray) -> View:
    """Every tensor of the program as real numbers."""
    _, words = run_reference(build.program, build.weights, images, tensors=True)
    return {name: decode_tensor(build.program, name, value) for name, value in words.items()}


def test_the_supernet_at_one_hot_alpha_is_the_frozen_network(chain: Chain) -> None:
    expected = units_of(chain.supernet, chain.images)
    assert list(expected) == list(UNITS)
    assert first_divergent(expected, units_of(chain.frozen, chain.images), 1e-5) is None


def test_the_reloaded_network_is_the_trained_one(chain: Chain) -> None:
    expected = leaves_of(chain.trained, chain.images)
    assert first_divergent(expected, leaves_of(chain.reloaded, chain.images), 0.0) is None


def test_onnxruntime_computes_the_reloaded_network(chain: Chain) -> None:
    nodes = onnx_tensors(chain.model, chain.images)
    found = {name: value for name, (_, value) in nodes.items()}
    leaves = leaves_of(chain.reloaded, chain.images)
    expected = {name: value for name, value in leaves.items() if name in found}
    assert {"first.act", "first.pool", "second.act", "third.act", "third.add", "fourth.pool"} <= set(expected)
    assert first_divergent(expected, found, 1e-4) is None


def test_fixed_point_follows_onnxruntime_through_every_layer(chain: Chain) -> None:
    fixed = fixed_point_view(chain.build, chain.images)
    expected = {tensor: value for tensor, value in onnx_tensors(chain.model, chain.images).values() if tensor in fixed}
    assert len(expected) >= 9
    assert (
        first_divergent(expected, {name: fixed[name].reshape(expected[name].shape) for name in expected}, 0.05) is None
    )
    logits = expected["logits"]
    assert (logits.argmax(1) == fixed["logits"].reshape(logits.shape).argmax(1)).mean() >= 0.97


@pytest.mark.parametrize("protocol", ["beaver-ot"])
def test_two_parties_compute_the_fixed_point_program_bit_for_bit(chain: Chain, protocol: str) -> None:
    program, weights = chain.build.program, chain.build.weights
    kinds = {operation.kind for operation in program.operations}
    assert {"conv", "relu", "maxpool", "square", "affine", "sumpool", "truncate", "linear"} <= kinds
    assert first_divergence(program, weights, chain.images[:3], get_execution(protocol)) is None


@pytest.mark.skipif(find_cxx() is None, reason="there is no C++ compiler for the accelerator's sources")
def test_two_accelerators_compute_the_same_words_as_two_parties(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, images = chain.build.program, chain.images[:2]
    execution = get_execution(chain.build.protocol_name)
    prepare_set(tmp_path / "material", program, chain.build.program_digest, execution, len(images))
    shutil.copytree(tmp_path / "material", tmp_path / "copy")
    accelerated = simulate_accelerators(chain.build, encode_images(program, images), tmp_path / "material", seed=1)
    np.save(tmp_path / "images.npy", images)
    arguments = [str(chain.build.path), "--input", str(tmp_path / "images.npy"), "--material", str(tmp_path / "copy")]
    assert run_parties([*arguments, "--json"]) == 0
    expected = np.array(json.loads(capsys.readouterr().out)["logits"])
    np.testing.assert_array_equal(decode_tensor(program, program.output, accelerated.logits), expected)


@pytest.mark.parametrize("layer", ["second.act", "third.conv.norm", "fourth.act"])
def test_the_walk_names_the_layer_that_was_broken(chain: Chain, layer: str) -> None:
    with model_context(CHOICES):
        broken = EveryOperator()
    broken.load_state_dict(chain.reloaded.state_dict())
    with torch.no_grad():
        next(broken.get_submodule(layer).parameters()).add_(0.5)
    expected = leaves_of(chain.reloaded, chain.images)
    assert first_divergent(expected, leaves_of(broken.eval(), chain.images), 1e-4) == layer
