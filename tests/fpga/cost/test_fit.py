"""The fitted constants: three networks give them, two others confirm them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers.networks.paper_networks import NETWORKS, paper_network

from rrnet_nni.fpga.cost.published import FITTED_NETWORKS
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import NamedOperator

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "fit_paper_constants.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit_paper_constants", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def oracle(network: str, activation: str) -> list[NamedOperator]:
    return paper_network(network, polynomial=activation == "x2act")


def test_constants_of_three_networks_predict_the_other_two(script: ModuleType) -> None:
    for (network, activation), error in script.fit(oracle, FITTED_NETWORKS).errors.items():
        if network in FITTED_NETWORKS:
            assert abs(error) < 0.015, (network, activation)
        else:
            assert abs(error) < (0.015 if activation == "relu" else 0.05), (network, activation)


def test_the_device_file_holds_the_constants_fitted_to_all_ten_latencies(script: ModuleType) -> None:
    device = load_device("zcu104")
    result = script.fit(oracle, NETWORKS)
    assert set(result.constants) == {key for key, origin in device.provenance.items() if origin.kind == "fitted"}
    for name, value in result.constants.items():
        assert getattr(device, name) == pytest.approx(value, rel=5e-4), name


def test_the_fit_prints_every_network_as_fitted_or_predicted(script: ModuleType) -> None:
    text = script.report(script.fit(oracle, NETWORKS), script.fit(oracle, FITTED_NETWORKS))
    assert all(network in text for network in NETWORKS)
    assert text.count("predicted") == 4
