"""The ten latencies of Fig. 3(b), by device constants only."""

from __future__ import annotations

import pytest
from helpers.networks.paper_networks import NETWORKS, paper_network

from rrnet_nni.fpga.cost import operator_cost
from rrnet_nni.fpga.cost.latency import OperatorCost, total_cost
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program.operators import comparison_count, relu_count
from rrnet_nni.fpga.protocols import get_costs

ALL_RELU_MS = {"vgg16": 382, "mobilenet_v2": 1543, "resnet18": 324, "resnet34": 435, "resnet50": 922}
SPEED_UP = {"vgg16": 20, "mobilenet_v2": 15, "resnet18": 26, "resnet34": 19, "resnet50": 25}
RELUS = {"vgg16": 276_480, "mobilenet_v2": 1_502_208, "resnet18": 188_416, "resnet34": 290_816, "resnet50": 784_384}
POOL_COMPARISONS = {"vgg16": 93_696, "mobilenet_v2": 0, "resnet18": 131_072, "resnet34": 131_072, "resnet50": 131_072}


def network_cost(name: str, polynomial: bool, protocol: str = "paper") -> OperatorCost:
    device = load_device("zcu104")
    operators = paper_network(name, polynomial)
    return total_cost(operator_cost(operator.shape, device, get_costs(protocol)) for operator in operators)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_have_the_papers_comparisons(name: str) -> None:
    shapes = [operator.shape for operator in paper_network(name, polynomial=False)]
    assert sum(map(relu_count, shapes)) == RELUS[name]
    assert sum(map(comparison_count, shapes)) == RELUS[name] + POOL_COMPARISONS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_all_relu_latency_is_within_1_5_percent(name: str) -> None:
    assert network_cost(name, polynomial=False).latency_ms == pytest.approx(ALL_RELU_MS[name], rel=0.015)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_polynomial_latency_is_within_2_5_percent(name: str) -> None:
    wanted = ALL_RELU_MS[name] / SPEED_UP[name]
    cost = network_cost(name, polynomial=True)
    assert cost.latency_ms == pytest.approx(wanted, rel=0.025)
    assert cost.comparisons == 0
