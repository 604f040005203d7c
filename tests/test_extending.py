"""The recipes of docs/extending.md work as they are written: an activation and a protocol added from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.networks.small_programs import residual_network
from torch import Tensor, nn

from rrnet_nni.cli import main
from rrnet_nni.evaluators.space_operators import describe_space, operator_shape
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.cost.latency import operator_cost
from rrnet_nni.fpga.cost.protocol import Exchange
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import AnyOperation, MaxPoolOp, Program, ReluOp
from rrnet_nni.fpga.program import operators as shapes
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.shapes import operation_shape
from rrnet_nni.fpga.protocols import PROTOCOLS, ProtocolDescriptor, executions, get_costs
from rrnet_nni.fpga.protocols.beaver_ot.costs import BeaverOT
from rrnet_nni.fpga.protocols.beaver_ot.execution import BeaverOTDealer, BeaverOTExecution, BeaverOTParty
from rrnet_nni.fpga.protocols.material import CorrectionWriter, RandomSource
from rrnet_nni.fpga.protocols.party import Channel, Traffic
from rrnet_nni.fpga.protocols.shared.executed import Step, Work
from rrnet_nni.fpga.protocols.shared.linear_geometry import open_words
from rrnet_nni.fpga.protocols.shared.pool_tree import pool_levels, pool_shape, run_pool_tree
from rrnet_nni.fpga.runtime.session.conformance import first_divergence, traffic_mismatch
from rrnet_nni.search_spaces import SpaceOptions, build_network, candidates_of, fixed_choices
from rrnet_nni.search_spaces.build import _candidates
from rrnet_nni.search_spaces.gates import ACTIVATIONS

OPTIONS = SpaceOptions(image_size=8, channels=1, width=0.25)


class Leaky(nn.Module):
    """x / 4 where x is negative: x / 4 + 3/4 relu(x)."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: Tensor) -> Tensor:
        return 0.25 * x + 0.75 * torch.relu(x)


@operator_shape.register
def _(module: Leaky, x: Tensor, output: Tensor) -> shapes.OperatorShape:
    return shapes.Relu(output.numel())


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(ACTIVATIONS, "leaky", lambda options, label, shape: Leaky(label))
    for known in (_candidates, describe_space):
        known.cache_clear()
    yield
    for known in (_candidates, describe_space):
        known.cache_clear()


def test_an_activation_is_a_candidate_with_a_price_and_compiles(leaky: None, tmp_path: Path) -> None:
    candidates = candidates_of("resnet8", OPTIONS)
    gates = [label for label, names in candidates.items() if "leaky" in names]
    assert gates == [label for label, names in candidates.items() if "relu" in names] != []
    described = describe_space("resnet8", OPTIONS)
    assert {type(described.choices[label]["leaky"]) for label in gates} == {shapes.Relu}

    network = build_network("resnet8", OPTIONS, fixed_choices("resnet8", OPTIONS, "leaky")).eval()
    export_onnx(network, (1, 8, 8), tmp_path / "model.onnx")
    images = np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    compile_model(tmp_path / "model.onnx", tmp_path / "build", "zcu104", "masked", tmp_path / "images.npy")
    build = load_build(tmp_path / "build")
    logits = run_reference(build.program, build.weights, images)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    wanted = session.run(None, {session.get_inputs()[0].name: images})[0]
    assert np.abs(logits - wanted).max() < 0.02 * np.abs(wanted).max()
    assert first_divergence(build.program, build.weights, images[:2], executions()["masked"]) is None


def test_commands_know_an_activation_by_its_name(leaky: None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["latency", "resnet8", "--image-size", "8", "--channels", "1", "--width", "0.25", "--activation"]
    assert main([*arguments, "leaky"]) == 0
    assert "leaky" in capsys.readouterr().out
    assert main([*arguments, "swish"]) == 2
    assert "activation must be one of relu, x2act, leaky, not 'swish'" in capsys.readouterr().err


def opened_relu(number: int, channel: Channel, share: np.ndarray) -> np.ndarray:
    opened = open_words(channel, share)
    return np.where(opened.view(np.int32) > 0, opened, 0).astype(np.uint32) * np.uint32(number == 0)


class OpenRelu(BeaverOT):
    """Beaver products, and comparisons on words that both parties see: fast, and no secret at all."""

    name: ClassVar[str] = "open-relu"

    def steps(self, shape: shapes.OperatorShape, batch: int) -> tuple[Step, ...]:
        levels: Sequence[int] = ()
        match shape:
            case shapes.Relu(elements=elements):
                levels = (elements,)
            case shapes.MaxPool():
                levels = pool_levels(shape)
            case _:
                return super().steps(shape, batch)
        both = [(Work("alu", "add", batch * n), Exchange((4 * batch * n, 4 * batch * n))) for n in levels]
        return tuple(step for pair in both for step in pair)

    def offline_bytes(self, shape: shapes.OperatorShape, batch: int = 1) -> tuple[int, int]:
        return (0, 0) if isinstance(shape, shapes.Relu | shapes.MaxPool) else super().offline_bytes(shape, batch)


class OpenReluParty(BeaverOTParty):
    def evaluate_operation(
        self, index: int, operation: AnyOperation, inputs: list[np.ndarray], material: Any
    ) -> np.ndarray:
        def relu(share: np.ndarray) -> np.ndarray:
            return opened_relu(self.number, self.channel, share)

        if isinstance(operation, ReluOp):
            return relu(inputs[0])
        if isinstance(operation, MaxPoolOp):
            return run_pool_tree(inputs[0], pool_shape(operation, self.program), lambda level, words: relu(words))
        return super().evaluate_operation(index, operation, inputs, material)


class OpenReluDealer(BeaverOTDealer):
    def _deal_operation(
        self, operation: int, sources: tuple[RandomSource, RandomSource], writer: CorrectionWriter
    ) -> None:
        if not isinstance(self._program.operations[operation], ReluOp | MaxPoolOp):
            super()._deal_operation(operation, sources, writer)


class OpenReluExecution(BeaverOTExecution):
    name: ClassVar[str] = "open-relu"

    def traffic(self, program: Program, batch: int) -> Sequence[Traffic]:
        costs = get_costs(self.name)
        assert isinstance(costs, OpenRelu)
        result = []
        for operation in program.operations:
            shape = operation_shape(operation, program)
            rounds = tuple(step for step in costs.steps(shape, batch) if isinstance(step, Exchange))
            result.append(Traffic(operation.name, rounds, costs.setup_bytes(shape), costs.offline_bytes(shape, batch)))
        return result

    def party(self, number: int, program: Program, channel: Channel) -> OpenReluParty:
        return OpenReluParty(number, program, channel)

    def dealer(
        self, program: Program, weight_masks: Callable[[int], tuple[RandomSource, RandomSource]]
    ) -> OpenReluDealer:
        return OpenReluDealer(program, weight_masks)


@pytest.fixture
def open_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROTOCOLS, "open-relu", ProtocolDescriptor(OpenRelu(), OpenReluExecution()))


def test_a_protocol_is_priced_compiled_and_executed_by_its_name(open_relu: None, tmp_path: Path) -> None:
    device = load_device("zcu104")
    prices = [operator_cost(shapes.Relu(4096), device, get_costs(name)) for name in ("open-relu", "beaver-ot")]
    assert prices[0].bytes_sent == (4 * 4096, 4 * 4096)
    assert prices[0].latency_ms < prices[1].latency_ms

    program, weights = residual_network()
    images = np.random.default_rng(1).normal(size=(2, 3, 9, 9))
    execution = executions()["open-relu"]
    assert first_divergence(program, weights, images, execution) is None
    assert traffic_mismatch(program, weights, images, execution) is None

    network = build_network("resnet8", OPTIONS, fixed_choices("resnet8", OPTIONS)).eval()
    export_onnx(network, (1, 8, 8), tmp_path / "model.onnx")
    compile_model(tmp_path / "model.onnx", tmp_path / "build", "zcu104", "open-relu")
    report = load_build(tmp_path / "build").report
    assert report["protocol"] == "open-relu"
    assert report["makespan_ms"] > 0
