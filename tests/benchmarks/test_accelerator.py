"""The benchmark of the accelerator runs, and the networks that it is built for keep to their time on it."""

from __future__ import annotations

from pathlib import Path

import accelerator
import pytest
from helpers.networks.small_onnx_models import mixed_model

from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model, read_onnx
from rrnet_nni.fpga.cost.budget import check_budget
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import Program

MOST_MS, LEAST_GAIN = 60.0, 3.0


def makespans(program: Program, *labels: str) -> list[float]:
    known = {label: (device, protocol) for label, device, protocol in accelerator.rows()}
    return [accelerator.measure(program, *known[label])["makespan_ms"] for label in labels]


def test_every_row_of_the_table_is_a_schedule() -> None:
    program = compile_program(import_model(mixed_model(), "model")).program
    for label, device, protocol in accelerator.rows():
        row = accelerator.measure(program, device, protocol)
        assert row["makespan_ms"] >= max(row["array_ms"], row["link_ms"]) > 0, label


def test_measuring_one_case_anew_keeps_the_others() -> None:
    known = [{"network": network, "choice": choice, "rows": ["before"]} for network, choice in accelerator.CASES]
    network, choice = accelerator.CASES[1]
    found = accelerator.merged(known, [{"network": network, "choice": choice, "rows": ["now"]}])
    assert [table["rows"] for table in found] == [["before"], ["now"], ["before"]]


def network(name: str, choice: str, directory: Path) -> Program:
    accelerator.export(name, 32, choice, directory / "model.onnx")
    return compile_program(read_onnx(directory / "model.onnx")).program


@pytest.mark.slow
def test_the_relu_resnet18_is_done_in_time_on_boards_that_it_fits(tmp_path: Path) -> None:
    check_budget(load_device(accelerator.OURS))
    program = network("resnet18", "relu", tmp_path)
    (ours,) = makespans(program, "accelerator, 1 product")
    assert ours <= MOST_MS


@pytest.mark.slow
def test_the_polynomial_mobilenet_gains_three_times_on_the_papers_array(tmp_path: Path) -> None:
    program = network("mobilenet_v2", "poly", tmp_path)
    papers, ours = makespans(program, "paper's array, 3 products", "accelerator, 1 product")
    assert papers >= LEAST_GAIN * ours
