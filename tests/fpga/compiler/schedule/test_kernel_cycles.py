"""On a device with an accelerator, schedule and simulator take the kernels' own cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from helpers.networks.small_onnx_models import mixed_model

from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import import_model
from rrnet_nni.fpga.compiler.schedule.instruction_stream import schedule_instructions
from rrnet_nni.fpga.compiler.schedule.jobs import Rates
from rrnet_nni.fpga.compiler.schedule.schedule import Schedule, schedule_program
from rrnet_nni.fpga.compiler.schedule.simulate import instruction_cycles, simulate
from rrnet_nni.fpga.cost.accelerator import step_cycles
from rrnet_nni.fpga.cost.array import product_cycles
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import Program, ReluOp
from rrnet_nni.fpga.program.isa import Opcode, Queue
from rrnet_nni.fpga.program.operators import Conv, Linear, Relu
from rrnet_nni.fpga.program.shapes import operation_shape
from rrnet_nni.fpga.protocols import get_costs

DEVICE = load_device("zcu104-rrnet")
PRODUCTS = {"beaver-ot": 2, "masked": 1}


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_program(import_model(mixed_model(image_size=32), "model")).program


def products(program: Program, schedule: Schedule) -> Iterator[tuple[int, Conv | Linear]]:
    """Duration of every product's job, and the shape of its tile alone."""
    assert DEVICE.accelerator is not None
    for job in schedule.jobs:
        shape = operation_shape(program.operations[job.operation], program)
        if job.queue is not Queue.ARRAY or not isinstance(shape, Conv | Linear):
            continue
        stage = next(
            stage
            for stage in schedule.stages
            if stage.operation == job.operation and stage.first_phase <= job.phase < stage.end_phase
        )
        region = stage.regions[job.tile]
        channels, rows = region.channels[1] - region.channels[0], region.rows[1] - region.rows[0]
        if isinstance(shape, Linear):
            yield job.duration, replace(shape, out_features=channels)
            continue
        _, left, _, right = shape.padding
        height = (rows - 1) * shape.stride[0] + shape.kernel[0]
        yield job.duration, replace(shape, height=height, padding=(0, left, 0, right), out_channels=channels)


@pytest.mark.parametrize("protocol", PRODUCTS)
def test_every_product_takes_the_cycles_of_its_tile_on_the_array(program: Program, protocol: str) -> None:
    assert DEVICE.accelerator is not None
    found = list(products(program, schedule_program(program, DEVICE, get_costs(protocol))))
    assert found
    for duration, shape in found:
        assert duration == product_cycles(shape, PRODUCTS[protocol], DEVICE.accelerator), shape


def test_a_comparisons_work_adds_up_to_the_kernels_cycles(program: Program) -> None:
    assert DEVICE.accelerator is not None
    schedule = schedule_program(program, DEVICE, get_costs("masked"))
    index = next(i for i, operation in enumerate(program.operations) if isinstance(operation, ReluOp))
    shape = operation_shape(program.operations[index], program)
    assert isinstance(shape, Relu)
    spent = sum(job.duration for job in schedule.jobs if job.operation == index and job.queue is Queue.COMPARATOR)
    steps = [("digits", 1), ("and", 11), ("and", 5), ("and", 2), ("select", 1)]
    assert spent == sum(
        step_cycles("comparator", step, planes * shape.elements, shape, DEVICE.accelerator) for step, planes in steps
    )


def test_the_simulator_runs_the_same_cycles(program: Program) -> None:
    schedule = schedule_program(program, DEVICE, get_costs("masked"))
    instructions = schedule_instructions(schedule)
    assert simulate(instructions, DEVICE).makespan == schedule.makespan
    spent = sum(
        instruction_cycles(instruction, Rates.of(DEVICE))[0]
        for instruction in instructions
        if instruction.opcode is Opcode.ARRAY
    )
    assert spent == schedule.busy[Queue.ARRAY]
