import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_onnx_models import mixed_model

from rrnet_nni.fpga.compiler.bounds import one_machine_bound
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.frontend import import_model
from rrnet_nni.fpga.compiler.schedule import URGENCIES, Schedule, list_schedule, schedule_instructions
from rrnet_nni.fpga.compiler.simulate import simulate
from rrnet_nni.fpga.compiler.tiling import build_jobs
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import Program
from rrnet_nni.fpga.protocols import get_protocol

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


def scheduled(program: Program, protocol: str, tiles: int, rule: str) -> Schedule:
    return list_schedule(build_jobs(program, DEVICE, get_protocol(protocol), tiles), DEVICE, tiles, rule)


@pytest.mark.parametrize("protocol", ["beaver-ot", "masked", "paper"])
@pytest.mark.parametrize("rule", URGENCIES)
def test_a_schedule_respects_dependencies_queues_and_bounds(program: Program, protocol: str, rule: str) -> None:
    schedule = scheduled(program, protocol, 8, rule)
    free: dict[object, int] = {}
    for index in sorted(range(len(schedule.jobs)), key=lambda i: (schedule.starts[i], i)):
        job = schedule.jobs[index]
        assert all(schedule.end(before) <= schedule.starts[index] for before in job.dependencies)
        assert free.get(job.queue, 0) <= schedule.starts[index]
        free[job.queue] = schedule.starts[index] + job.duration
    assert schedule.lower_bound <= schedule.makespan
    assert simulate(schedule_instructions(schedule), DEVICE).makespan == schedule.makespan


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40), st.sampled_from(sorted(URGENCIES)))
def test_all_tilings_send_the_same_bytes(program: Program, tiles: int, rule: str) -> None:
    def sent(count: int) -> dict[str, int]:
        totals: dict[str, int] = {}
        for job in scheduled(program, "beaver-ot", count, rule).jobs:
            if job.latency:
                totals[job.queue.name] = totals.get(job.queue.name, 0) + job.amount
        return totals

    assert sent(tiles) == sent(1)


def test_more_tiles_overlap_more(program: Program) -> None:
    makespans = [scheduled(program, "beaver-ot", tiles, "tile").makespan for tiles in (1, 8)]
    assert makespans[1] < makespans[0]


def test_a_slow_network_keeps_the_order_valid(program: Program) -> None:
    instructions = schedule_instructions(scheduled(program, "beaver-ot", 8, "tile"))
    makespans = [simulate(instructions, DEVICE.with_network(rate, 0.02)).makespan for rate in (1e9, 12.5e6, 1e6)]
    assert list(np.sort(makespans)) == makespans
