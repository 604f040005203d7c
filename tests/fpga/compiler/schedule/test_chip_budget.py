"""A build says what its device takes of the chip, and a device that does not fit compiles nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.networks.small_onnx_models import mixed_model

from rrnet_nni.base.errors import Refusal
from rrnet_nni.fpga.compiler.compile import compile_graph
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols import get_costs

DEVICE = load_device("zcu104-rrnet")


def test_the_report_holds_a_budget_that_adds_up() -> None:
    graph = import_model(mixed_model(), "model")
    resources = compile_graph(graph, DEVICE, get_costs("masked")).report["resources"]
    assert resources["fits"]
    for name, total in resources["totals"].items():
        assert sum(block[name] for block in resources["blocks"]) == total["needs"] <= total["usable"]


def test_a_device_that_does_not_fit_its_chip_is_refused() -> None:
    assert DEVICE.accelerator is not None
    large = replace(DEVICE, accelerator=replace(DEVICE.accelerator, array_tiles=12))
    with pytest.raises(Refusal, match=r"needs 1,616 DSP blocks, but only 1,382 of its 1,728 can be used"):
        compile_graph(import_model(mixed_model(), "model"), large, get_costs("masked"))
