"""Four candidates in one activation, through every view: supernet, frozen, ONNX, fixed point, parties, accelerators."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.one_hot import one_hot_supernet
from helpers.simulated_builds import prepared, software_words
from torch import nn

from rrnet_nni.base.compatibility import freeze_apart
from rrnet_nni.evaluators.space_operators import describe_space, network_operators
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.compiler.schedule.accelerated import why_not_accelerated
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.hls.simulator import find_cxx
from rrnet_nni.fpga.program.build import Build, load_build
from rrnet_nni.fpga.program.reference import encode_images, run_reference
from rrnet_nni.fpga.protocols import executions, get_costs, get_execution, preparations
from rrnet_nni.fpga.runtime.session.conformance import disagreement, preparation_mismatch, traffic_mismatch
from rrnet_nni.reports.agreement import onnx_logits
from rrnet_nni.search_spaces import SpaceOptions, build_network, build_space, candidates_of

SPACE = SpaceOptions(
    image_size=16, channels=1, width=0.5, groups=4, extra_activations=("relu2x2", "identity"), stem="plain"
)
KINDS = ("relu", "x2act", "relu2x2", "identity")
#: The first two activations and the last have all four; those between are of one kind, of two, and of all but one.
CHOICES = {
    label: KINDS[(int(label[-1]) + place) % len(KINDS)] if place % 4 < 3 else KINDS[place % 2]
    for place, label in enumerate(candidates_of("resnet8", SPACE))
} | {f"layer1.0.act1.g{number}": kind for number, kind in enumerate(KINDS)}
#: What the accelerator takes.
WITHOUT_PATCHES = {label: "relu" if kind == "relu2x2" else kind for label, kind in CHOICES.items()}


@dataclass(frozen=True)
class Mixed:
    """A network of mixed activations with its model, and images."""

    network: nn.Module
    model: Path
    images: np.ndarray

    def build(self, folder: Path, protocol: str, ring: str | None = None) -> Build:
        np.save(folder / "images.npy", self.images)
        compile_model(self.model, folder / "build", "zcu104", protocol, folder / "images.npy", ring=ring)
        return load_build(folder / "build")


def mixed(folder: Path, choices: dict[str, str]) -> Mixed:
    torch.manual_seed(0)
    network = build_network("resnet8", SPACE, choices)
    images = torch.randn(32, 1, 16, 16)
    for _ in range(20):
        network(images)
    export_onnx(network.eval(), (1, 16, 16), folder / "model.onnx")
    return Mixed(network, folder / "model.onnx", images.numpy())


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return mixed(tmp_path_factory.mktemp("four"), CHOICES)


def test_one_activation_has_all_four_candidates() -> None:
    assert {CHOICES[f"layer1.0.act1.g{number}"] for number in range(4)} == set(KINDS)


def test_the_supernet_at_one_hot_alpha_is_the_frozen_network_and_onnxruntime_computes_it(four: Mixed) -> None:
    supernet = one_hot_supernet(build_space("resnet8", SPACE), CHOICES)
    with torch.no_grad():
        supernet(torch.from_numpy(four.images))  # in training mode: the squares' statistics
        frozen = freeze_apart(supernet, CHOICES).eval()
        images = torch.from_numpy(four.images)
        torch.testing.assert_close(supernet.eval()(images), frozen(images), rtol=1e-5, atol=1e-5)
        wanted = four.network(images).numpy()
    np.testing.assert_allclose(onnx_logits(four.model, four.images), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("protocol", "ring"), [*((name, "32") for name in sorted(executions())), ("masked", "narrow")])
def test_the_parties_compute_the_reference_bit_for_bit_and_send_what_is_predicted(
    four: Mixed, protocol: str, ring: str, tmp_path: Path
) -> None:
    build, execution = four.build(tmp_path, protocol, ring), get_execution(protocol)
    check_build(build.path)
    images = four.images[:2]
    assert disagreement(build.program, build.weights, images, execution) is None
    assert traffic_mismatch(build.program, build.weights, images[:1], execution) is None
    if protocol in preparations():
        assert disagreement(build.program, build.weights, images[:1], execution, "two-party") is None
        assert preparation_mismatch(build.program, 1, execution) is None
    if ring == "32":
        found = run_reference(build.program, build.weights, four.images)
        assert (found.argmax(1) == onnx_logits(four.model, four.images).argmax(1)).mean() > 0.9


def test_the_accelerator_refuses_shared_signs_in_a_sentence(four: Mixed, tmp_path: Path) -> None:
    reason = why_not_accelerated(four.build(tmp_path, "beaver-ot").program, get_costs("beaver-ot"))
    assert reason is not None
    assert reason.endswith("the accelerator has no operation 'select'")


@pytest.mark.skipif(find_cxx() is None, reason="there is no C++ compiler for the accelerator's sources")
@pytest.mark.parametrize("protocol", ["beaver-ot", "masked"])
def test_accelerators_open_what_the_software_parties_open(protocol: str, tmp_path: Path) -> None:
    build = mixed(tmp_path, WITHOUT_PATCHES).build(tmp_path, protocol, "32")
    words = encode_images(build.program, np.load(tmp_path / "images.npy")[:1])
    material = prepared(build, tmp_path / "material", 1)
    shutil.copytree(material, tmp_path / "copy")
    found = simulate_accelerators(build, words, material)
    np.testing.assert_array_equal(found.logits, software_words(build, words, tmp_path / "copy"))
    sent = [party[0].bytes_sent for party in found.counted]
    instructed = build.report["bytes_sent"]
    # tiles of few elements round their bit planes up to whole octets
    assert all(0 <= own - predicted <= 0.03 * predicted for own, predicted in zip(sent, instructed))


def test_table_network_and_program_agree_on_bytes_rounds_and_comparisons(tmp_path: Path) -> None:
    """Of a network without residual additions, which programs truncate once instead of twice."""
    device, protocol = load_device("zcu104"), get_costs("beaver-ot")
    space = SpaceOptions(width=1 / 16, groups=4, extra_activations=("relu2x2", "identity"))
    choices = {
        label: KINDS[place % len(KINDS)] if "relu" in names else "avgpool"
        for place, (label, names) in enumerate(candidates_of("vgg16", space).items())
    }
    described = describe_space("vgg16", space)
    table = build_lut(described.choices, described.fixed, device, protocol, slices=described.slices)
    priced = table.cost(choices)
    network = network_cost(network_operators("vgg16", space, choices), device, protocol)
    torch.manual_seed(0)
    export_onnx(build_network("vgg16", space, choices).eval(), (3, 32, 32), tmp_path / "model.onnx")
    compile_model(tmp_path / "model.onnx", tmp_path / "build")
    report = load_build(tmp_path / "build").report
    logits = 4 * space.classes
    assert network.total.bytes_sent == priced.bytes_sent == tuple(sent + logits for sent in report["bytes_sent"])
    assert network.total.rounds == priced.rounds == report["rounds"] + 1
    assert network.total.comparisons == priced.comparisons == report["comparisons"]
    assert table.latency_ms(choices) == pytest.approx(network.total.latency_ms)
    assert report["operator_sum_ms"] == pytest.approx(priced.latency_ms, rel=0.05)
