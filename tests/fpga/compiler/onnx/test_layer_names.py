"""Nodes and tensors get the names of the layers that torch's exporter wrote down."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from helpers.networks.small_onnx_models import mixed_model, run_onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rrnet_nni.fpga.compiler.onnx.frontend import import_model, read_onnx
from rrnet_nni.fpga.compiler.onnx.layer_names import SCOPES_KEY, name_after_layers


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x) + x)


@pytest.fixture(scope="module")
def exported() -> onnx.ModelProto:
    """A foreign network as torch exports it, with its own counters for names."""
    network = nn.Sequential(Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    program = torch.onnx.export(network, (torch.zeros(1, 3, 8, 8),), dynamo=True, verbose=False)
    assert program is not None
    return program.model_proto


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.SerializeToString())


def test_a_foreign_network_is_reported_under_its_own_layers(exported: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(exported, tmp_path / "flowers.onnx")
    graph = read_onnx(tmp_path / "flowers.onnx")
    assert graph.name == "flowers"
    names = [node.name for node in graph.nodes]
    assert names[:6] == ["0.conv", "0.add", "0.relu", "1.conv", "1.add", "1.relu"]
    assert [node.output for node in graph.nodes][:6] == names[:6]


def test_the_renamed_network_computes_the_same_under_the_same_input_and_output(exported: onnx.ModelProto) -> None:
    renamed = copied(exported)
    name_after_layers(renamed)
    onnx.checker.check_model(renamed, full_check=True)
    assert [value.name for value in renamed.graph.output] == [value.name for value in exported.graph.output]
    images = torch.randn(1, 3, 8, 8).numpy()
    assert (run_onnx(renamed, images) == run_onnx(exported, images)).all()


def test_a_model_without_records_keeps_its_names() -> None:
    model = mixed_model()
    before = model.SerializeToString()
    name_after_layers(model)
    assert model.SerializeToString() == before


@settings(max_examples=25)
@given(
    records=st.lists(st.text(max_size=12) | st.sampled_from(["['a', 'b']", "['a', 3]", "['', 'logits', 'x']", "[["]))
)
def test_whatever_a_file_records_it_stays_the_same_network(records: list[str]) -> None:
    model = mixed_model()
    for node, record in zip(model.graph.node, records):
        node.metadata_props.add(key=SCOPES_KEY, value=record)
    name_after_layers(model)
    onnx.checker.check_model(model, full_check=True)
    assert len(import_model(model, "model").nodes) == len(import_model(mixed_model(), "model").nodes)
