import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.networks.small_onnx_models import ModelBuilder, mixed_model
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.compiler.check.check import check_build
from rrnet_nni.fpga.compiler.compile import compile_model, compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.report.page import buffer_blocks
from rrnet_nni.fpga.compiler.schedule import job_writer
from rrnet_nni.fpga.compiler.schedule.bounds import lower_bounds, one_machine_bound
from rrnet_nni.fpga.compiler.schedule.instruction_stream import schedule_instructions
from rrnet_nni.fpga.compiler.schedule.job_table import JobGraph
from rrnet_nni.fpga.compiler.schedule.jobs import Job, Rates
from rrnet_nni.fpga.compiler.schedule.schedule import Schedule, list_schedule, list_schedules, nudged, shortest
from rrnet_nni.fpga.compiler.schedule.simulate import simulate
from rrnet_nni.fpga.compiler.schedule.tiling import build_jobs
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import ConcatOp, Program
from rrnet_nni.fpga.program.isa import Queue
from rrnet_nni.fpga.protocols import get_costs

DEVICE = load_device("zcu104")
MACHINE = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5), st.integers(0, 12)), min_size=1, max_size=6)


def preemptive_by_the_cycle(machine: list[tuple[int, int, int]]) -> int:
    """The longest tail first, one cycle after the other."""
    left, now, end = [duration for _, duration, _ in machine], 0, 0
    while any(left):
        ready = [i for i, (head, _, _) in enumerate(machine) if head <= now and left[i]]
        now += 1
        if ready:
            chosen = max(ready, key=lambda i: machine[i][2])
            left[chosen] -= 1
            if not left[chosen]:
                end = max(end, now + machine[chosen][2])
    return end


@given(MACHINE)
def test_the_one_machine_bound_is_jacksons_preemptive_schedule(machine: list[tuple[int, int, int]]) -> None:
    assert one_machine_bound(machine) == preemptive_by_the_cycle(machine)
    assert one_machine_bound(machine) >= max(head + duration + tail for head, duration, tail in machine)


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_program(import_model(mixed_model(image_size=32), "model")).program


def scheduled(program: Program, protocol: str, tiles: int, improvements: int = 0) -> Schedule:
    return list_schedule(build_jobs(program, DEVICE, get_costs(protocol), tiles), DEVICE, tiles, improvements)


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked", "paper"])
@pytest.mark.parametrize("improvements", [0, 3])
def test_a_schedule_respects_dependencies_queues_and_bounds(program: Program, protocol: str, improvements: int) -> None:
    schedule = scheduled(program, protocol, 8, improvements)
    free: dict[object, int] = {}
    for index in sorted(range(len(schedule.jobs)), key=lambda i: (schedule.starts[i], i)):
        job = schedule.jobs[index]
        assert all(schedule.end(before) <= schedule.starts[index] for before in job.dependencies)
        assert free.get(job.queue, 0) <= schedule.starts[index]
        free[job.queue] = schedule.starts[index] + job.duration
    assert schedule.lower_bound <= schedule.makespan
    assert simulate(schedule_instructions(schedule), DEVICE).makespan == schedule.makespan


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40))
def test_all_tilings_send_the_same_bytes(program: Program, tiles: int) -> None:
    def sent(count: int) -> dict[str, int]:
        totals: dict[str, int] = {}
        for job in scheduled(program, "beaver-ot", count).jobs:
            if job.latency:
                totals[job.queue.name] = totals.get(job.queue.name, 0) + job.amount
        return totals

    assert sent(tiles) == sent(1)


def test_more_tiles_overlap_more(program: Program) -> None:
    makespans = [scheduled(program, "beaver-ot", tiles).makespan for tiles in (1, 8)]
    assert makespans[1] < makespans[0]


def test_a_slow_network_keeps_the_order_valid(program: Program) -> None:
    instructions = schedule_instructions(scheduled(program, "beaver-ot", 8))
    makespans = [simulate(instructions, DEVICE.with_network(rate, 0.02)).makespan for rate in (1e9, 12.5e6, 1e6)]
    assert list(np.sort(makespans)) == makespans


def test_backward_and_forward_passes_never_make_a_schedule_longer(program: Program) -> None:
    makespans = [scheduled(program, "beaver-ot", 16, passes).makespan for passes in (0, 1, 4)]
    assert makespans == sorted(makespans, reverse=True)
    assert makespans[2] < makespans[0]


def layers_of(count: int, width: int, duration: int) -> list[Job]:
    """Layers of array jobs between loads and stores of one cycle; every load waits for the whole layer before."""
    jobs: list[Job] = []
    stored: tuple[int, ...] = ()
    for layer in range(count):
        first = len(jobs)
        for tile in range(width):
            step = (layer, tile, 0, 1)
            load = len(jobs)
            jobs.append(Job(Queue.LOAD, 1, 0, 1, *step, stored, allocates=64, load=load))
            jobs.append(Job(Queue.ARRAY, duration, 0, duration, *step, (load,), load=load))
            jobs.append(Job(Queue.STORE, 1, 0, 1, *step, (load + 1,), releases=(load,), load=load))
        stored = tuple(range(first + 2, len(jobs), 3))
    return jobs


@pytest.mark.parametrize(("count", "width", "duration"), [(1, 8, 10), (5, 8, 10), (3, 20, 4)])
def test_joins_bound_what_adds_up_layer_by_layer(count: int, width: int, duration: int) -> None:
    bounds = lower_bounds(JobGraph(0, layers_of(count, width, duration)), DEVICE)
    assert bounds["joins"] == count * (width * duration + 2)
    assert bounds["critical path"] == count * (duration + 2)


def test_weights_that_do_not_fit_the_buffer_are_loaded_after_the_first_tile() -> None:
    """Four bands of 100 cycles each in a buffer of two: two are still to come when the first tile is stored."""
    size = int(100 * Rates.of(DEVICE).load_bytes_per_cycle)
    jobs = [Job(Queue.LOAD, 100, 0, size, 0, band, 0, 0, (), allocates=size, weights=True) for band in range(4)]
    for band in range(4):
        load = len(jobs)
        jobs.append(Job(Queue.LOAD, 1, 0, 1, 0, band, 0, 1, (band,), allocates=64, load=load))
        jobs.append(Job(Queue.SEND, 1, 498, 1, 0, band, 0, 1, (load,), load=load))
        jobs.append(Job(Queue.STORE, 1, 0, 1, 0, band, 1, 1, (load + 1,), releases=(load, band), load=load))
    bounds = lower_bounds(JobGraph(0, jobs), dataclasses.replace(DEVICE, buffer_bytes=2 * size))
    tile, rounding = 1 + 1 + 498 + 1, 4
    assert bounds["joins"] == (100 + tile) + 200 - rounding + tile
    assert bounds["load"] == 400 + 4 + tile - 1


@given(st.integers(0, 3), st.integers(200_000, 4_000_000))
@settings(max_examples=15, deadline=None)
def test_no_schedule_undercuts_its_bounds_whatever_the_buffer(program: Program, passes: int, buffer_bytes: int) -> None:
    device = dataclasses.replace(DEVICE, buffer_bytes=buffer_bytes)
    graph = build_jobs(program, device, get_costs("beaver-ot"), 8)
    assert max(lower_bounds(graph, device).values()) <= list_schedule(graph, device, 8, passes).makespan


def test_the_memory_map_never_shows_two_blocks_in_one_place(program: Program) -> None:
    schedule = scheduled(program, "beaver-ot", 4, 1)
    blocks = buffer_blocks(schedule, DEVICE)
    assert len(blocks) == sum(bool(job.allocates) for job in schedule.jobs)
    for number, (_, start, end, address, size, _) in enumerate(blocks):
        assert 0 <= address <= DEVICE.buffer_bytes - size
        assert start < end
        for _, begin, stop, other, length, _ in blocks[:number]:
            apart = end <= begin or stop <= start or address + size <= other or other + length <= address
            assert apart


def test_orders_near_the_best_one_never_make_a_schedule_longer_and_are_the_same_every_time(program: Program) -> None:
    start = shortest(list_schedules(build_jobs(program, DEVICE, get_costs("beaver-ot"), 16), DEVICE, 16, 4))
    found = [nudged(start, nudges).schedule for nudges in (0, 12, 48, 48)]
    makespans = [schedule.makespan for schedule in found]
    assert makespans[0] == start.makespan
    assert makespans == sorted(makespans, reverse=True)
    assert found[2] == found[3]
    assert simulate(schedule_instructions(found[2]), DEVICE).makespan == makespans[2] < start.makespan


def test_weights_in_pieces_are_the_same_weights_in_the_same_place(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_writer, "WEIGHT_PIECE_BYTES", 256)
    in_pieces = build_jobs(program, DEVICE, get_costs("beaver-ot"), 8)
    monkeypatch.setattr(job_writer, "WEIGHT_PIECE_BYTES", 2**40)
    at_once = build_jobs(program, DEVICE, get_costs("beaver-ot"), 8)

    def bands(graph: JobGraph) -> dict[tuple[int, int], tuple[int, int]]:
        totals: dict[tuple[int, int], tuple[int, int]] = {}
        for job in graph.jobs:
            if job.weights:
                amount, held = totals.get((job.operation, job.tile), (0, 0))
                totals[job.operation, job.tile] = amount + job.amount, held + job.allocates
        return totals

    assert bands(in_pieces) == bands(at_once)
    assert max(job.amount for job in in_pieces.jobs if job.weights) == 256


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked"])
@pytest.mark.parametrize("size", [6, 55])
def test_a_concatenation_loads_its_own_rows_of_its_own_channels_once(protocol: str, size: int) -> None:
    build = ModelBuilder((3, size, size))
    stem = build.node("Relu", [build.conv("image", "stem", 3, 16)], "stem_relu")
    parts = [build.node("Relu", [build.conv(stem, f"c{i}", 16, 64, kernel=1)], f"relu{i}") for i in range(2)]
    joined = build.node("Concat", [stem, *parts], "concat", axis=1)
    pooled = build.node("GlobalAveragePool", [joined], "pooled")
    model = build.model(build.node("Flatten", [pooled], "flat"))
    program = compile_program(import_model(model, "model")).program
    operation = next(item for item in program.operations if isinstance(item, ConcatOp))
    words = sum(program.tensor(name).elements for name in operation.inputs)
    for tiles in (1, 4, 32):
        schedule = scheduled(program, protocol, tiles)
        index = program.operations.index(operation)
        jobs = [job for job in schedule.jobs if job.operation == index and job.queue is Queue.LOAD]
        assert sum(job.amount for job in jobs) == 4 * words


def test_an_input_that_stands_twice_in_a_concatenation_is_waited_for_in_both_places(tmp_path: Path) -> None:
    build = ModelBuilder((3, 6, 6))
    relu = build.node("Relu", [build.conv("image", "stem", 3, 64)], "relu")
    other = build.node("Relu", [build.conv("image", "other", 3, 64)], "other_relu")
    joined = build.node("Concat", [relu, other, relu], "concat", axis=1)
    pooled = build.node("GlobalAveragePool", [joined], "pooled")
    onnx.save(build.model(build.node("Flatten", [pooled], "flat")), tmp_path / "model.onnx")
    compile_model(tmp_path / "model.onnx", tmp_path / "build")
    check_build(tmp_path / "build")
