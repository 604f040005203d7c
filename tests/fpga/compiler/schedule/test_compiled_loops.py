"""The loops in C and those in Python give the same schedules and the same bounds, cycle for cycle."""

import dataclasses

import numpy as np
import pytest
from helpers.job_graphs import layered_jobs
from helpers.networks.small_onnx_models import mixed_model
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.schedule import bounds, list_scheduler, schedule
from rrnet_nni.fpga.compiler.schedule.compiled_loops import compiled_loops
from rrnet_nni.fpga.compiler.schedule.job_table import JobGraph
from rrnet_nni.fpga.compiler.schedule.jobs import Job
from rrnet_nni.fpga.compiler.schedule.list_scheduler import ListScheduler
from rrnet_nni.fpga.compiler.schedule.tiling import build_jobs
from rrnet_nni.fpga.devices import Device, load_device
from rrnet_nni.fpga.protocols import get_costs

DEVICE = load_device("zcu104")
pytestmark = pytest.mark.skipif(compiled_loops() is None, reason="needs a C compiler")


def answers(
    graph: JobGraph, device: Device, order: np.ndarray
) -> tuple[list[int], list[int], list[int], dict[str, int]]:
    scheduler = ListScheduler(graph, device)
    starts, addresses = scheduler.forward(order)
    latest = scheduler.latest_starts(starts + scheduler.table.duration)
    return starts.tolist(), addresses.tolist(), latest.tolist(), bounds.lower_bounds(graph, device)


def both(
    graph: JobGraph, device: Device, order: np.ndarray
) -> list[tuple[list[int], list[int], list[int], dict[str, int]]]:
    with pytest.MonkeyPatch.context() as patch:
        compiled = answers(graph, device, order)
        for module in (bounds, list_scheduler):
            patch.setattr(module, "compiled_loops", lambda: None)
        return [compiled, answers(graph, device, order)]


@settings(max_examples=60, deadline=None)
@given(jobs=layered_jobs(), free=st.integers(0, 1500), seed=st.integers(0, 9), width=st.integers(1, 3))
def test_random_graphs_in_any_order(jobs: list[Job], free: int, seed: int, width: int) -> None:
    largest = max(job.allocates for job in jobs if job.weights)
    device = dataclasses.replace(DEVICE, buffer_bytes=2 * 64 + largest + free)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "JOIN_WIDTHS", (width,))
        compiled, plain = both(JobGraph(128, jobs), device, np.random.default_rng(seed).integers(0, 5, len(jobs)))
    assert compiled == plain


@settings(max_examples=40, deadline=None)
@given(jobs=layered_jobs(), seed=st.integers(0, 99))
def test_jobs_of_no_cycles_and_messages_of_any_latency(jobs: list[Job], seed: int) -> None:
    generator = np.random.default_rng(seed)
    for job in jobs:
        job.duration *= int(generator.integers(0, 2))
        job.latency = int(generator.integers(0, 3) * generator.integers(0, 40))
    order = generator.integers(0, 5, len(jobs))
    compiled, plain = both(JobGraph(128, jobs), DEVICE, order)
    assert compiled == plain


@pytest.mark.parametrize("buffer_bytes", [200_000, DEVICE.buffer_bytes])
@pytest.mark.parametrize("limit", [100, 8_000_000])
def test_a_network_in_a_small_and_a_large_buffer(
    buffer_bytes: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compile_program(import_model(mixed_model(image_size=16), "model")).program
    device = dataclasses.replace(DEVICE, buffer_bytes=buffer_bytes)
    graph = build_jobs(program, device, get_costs("beaver-ot"), 8)
    monkeypatch.setattr(bounds, "JOIN_BUDGET", limit)
    compiled, plain = both(graph, device, np.arange(len(graph.jobs)))
    assert compiled == plain


def test_a_build_is_the_same_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    program = compile_program(import_model(mixed_model(image_size=8), "model")).program
    arguments = (program, DEVICE, get_costs("masked"), (4, 8))
    compiled = schedule.schedule_program(*arguments)
    monkeypatch.setattr(list_scheduler, "compiled_loops", lambda: None)
    assert schedule.schedule_program(*arguments) == compiled


def test_a_tile_that_never_fits_is_told_apart_from_a_schedule() -> None:
    program = compile_program(import_model(mixed_model(image_size=8), "model")).program
    graph = build_jobs(program, DEVICE, get_costs("beaver-ot"), 1)
    small = dataclasses.replace(DEVICE, buffer_bytes=64)
    with pytest.raises(RuntimeError, match="stuck"):
        ListScheduler(graph, small).forward(np.arange(len(graph.jobs)))
