"""What the accelerator of fpga/hls gains over the array that the paper's figures imply, on whole scheduled networks.

    python benchmarks/hardware/accelerator.py      the table, and docs/results/accelerator.json
    python benchmarks/hardware/accelerator.py --networks resnet18 --choices relu  this one anew, the others as there

Every row is a compiled network on a pair of boards at 1 GB/s, scheduled with the same scheduler:

    paper, 3 products   `zcu104` (rates fitted to the paper, depthwise starved), the products of Eq. 2 as printed, the
                        paper's comparison: a cost model, not executable
    beaver-ot, masked   executed protocols, on `zcu104` (the same array, two products or one) and on `zcu104-rrnet`
    no depthwise mode   `zcu104-rrnet` with its depthwise dataflow taken away
    comparison keys     `masked-dcf`: comparison functions on the AES cores that expand masks

"AES ms" is what one image's keystream takes of the accelerator's cores; steps that need more of it than of their own
unit are charged with it. "beyond ms" adds up what units that run at the same time ask for beyond what the cores make:
about what the makespan would grow by at most, which is not charged.

Times are modelled: cycles of the kernels from formulas that verilated modules confirm, memory and link from the device
files.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from schedule import export

from rrnet_nni.base.files import write_whole_json
from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
from rrnet_nni.fpga.compiler.schedule.schedule import Schedule, schedule_program
from rrnet_nni.fpga.cost.accelerator import keystream_bits
from rrnet_nni.fpga.cost.budget import check_budget
from rrnet_nni.fpga.cost.streaming import BUS_BITS
from rrnet_nni.fpga.devices import Device, load_device
from rrnet_nni.fpga.program import Program, ReshapeOp
from rrnet_nni.fpga.program.isa import Queue
from rrnet_nni.fpga.program.shapes import operation_shape
from rrnet_nni.fpga.protocols import get_costs
from rrnet_nni.fpga.protocols.shared.executed import ExecutedProtocol, Work

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "accelerator.json"
CASES = (("resnet18", "relu"), ("resnet18", "poly"), ("mobilenet_v2", "poly"))
COLUMNS = ("makespan ms", "gain", "array ms", "comparator ms", "AES ms", "beyond ms", "link ms")
COMPUTING = (Queue.ARRAY, Queue.COMPARATOR, Queue.ALU)
PAPER, OURS = "zcu104", "zcu104-rrnet"


def without_depthwise(device: Device) -> Device:
    assert device.accelerator is not None
    return replace(device, accelerator=replace(device.accelerator, depthwise=0))


def rows() -> list[tuple[str, Device, str]]:
    """Label, device and protocol of every row; the first is what the others are compared with."""
    paper, ours = load_device(PAPER), load_device(OURS)
    return [
        ("paper's array, 3 products", paper, "paper"),
        ("paper's array, 2 products", paper, "beaver-ot"),
        ("paper's array, 1 product", paper, "masked"),
        ("accelerator, 2 products", ours, "beaver-ot"),
        ("accelerator without depthwise mode, 1 product", without_depthwise(ours), "masked"),
        ("accelerator, 1 product", ours, "masked"),
        ("accelerator, 1 product, comparison keys", ours, "masked-dcf"),
    ]


def cores(device: Device) -> int:
    return device.accelerator.aes_cores if device.accelerator is not None else int(device.aes_blocks_per_cycle)


def phase_keystream(program: Program, protocol: str) -> dict[tuple[int, int], float]:
    """Bits that the AES cores make for every phase (operation, number) of one image."""
    placed = get_costs(protocol).in_place(program)
    bits = {}
    for index, operation in enumerate(program.operations):
        priced = placed[operation.name]
        if isinstance(operation, ReshapeOp) or not isinstance(priced, ExecutedProtocol):
            continue
        shape = operation_shape(operation, program)
        for phase, step in enumerate(priced.steps(shape, 1)):
            if isinstance(step, Work):
                bits[index, phase] = keystream_bits(step.kernel, step.step, step.count, shape)
    return bits


def keystream_demands(schedule: Schedule, program: Program, protocol: str) -> list[tuple[int, int, float]]:
    """(start, end, bits) of every job that takes keystream; `masked` takes as much as it loads of weights."""
    bits, work = phase_keystream(program, protocol), dict[tuple[int, int], int]()
    for job in schedule.jobs:
        if job.queue in COMPUTING:
            key = (job.operation, job.phase)
            work[key] = work.get(key, 0) + job.duration
    demands = []
    for job, start in zip(schedule.jobs, schedule.starts):
        taken = 0.0
        if job.queue in COMPUTING:
            key = (job.operation, job.phase)
            taken = bits.get(key, 0.0) * job.duration / work[key]
        elif job.weights and get_costs(protocol).words_stay_open:
            taken = 8.0 * job.amount
        if taken:
            demands.append((start, start + job.duration, taken))
    return demands


def cycles_beyond(demands: list[tuple[int, int, float]], cores: int) -> float:
    """What units that run at the same time ask for beyond what the cores make, as cycles of all cores."""
    changes = sorted(
        change
        for start, end, bits in demands
        for change in ((start, bits / BUS_BITS / (end - start)), (end, -bits / BUS_BITS / (end - start)))
    )
    beyond = rate = 0.0
    for (time, change), (following, _) in itertools.pairwise(changes):
        rate += change
        beyond += max(0.0, rate - cores) / cores * (following - time)
    return beyond


def measure(program: Program, device: Device, protocol: str) -> dict[str, Any]:
    schedule = schedule_program(program, device, get_costs(protocol))
    demands = keystream_demands(schedule, program, protocol) if device.accelerator is not None else []
    ms = 1e3 / device.clock_hz
    return {
        "device": device.name,
        "protocol": protocol,
        "makespan_ms": schedule.makespan * ms,
        "array_ms": schedule.busy[Queue.ARRAY] * ms,
        "comparator_ms": schedule.busy[Queue.COMPARATOR] * ms,
        "aes_ms": sum(bits for *_, bits in demands) / BUS_BITS / cores(device) * ms,
        "aes_beyond_ms": cycles_beyond(demands, cores(device)) * ms,
        "link_ms": max(schedule.busy[Queue.SEND], schedule.busy[Queue.RECEIVE]) * ms,
    }


def merged(known: list[dict[str, Any]], measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tables of all cases in order: those measured now, the others as they were."""
    tables = {(table["network"], table["choice"]): table for table in (*known, *measured)}
    return [tables[case] for case in CASES if case in tables]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    networks, choices = (sorted({case[i] for case in CASES}) for i in (0, 1))
    parser.add_argument("--networks", nargs="+", default=networks, choices=networks)
    parser.add_argument("--choices", nargs="+", default=choices, choices=choices)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    budget = check_budget(load_device(OURS))
    known = json.loads(options.output.read_text())["tables"] if options.output.exists() else []
    tables: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        for network, choice in CASES:
            if network not in options.networks or choice not in options.choices:
                continue
            model = Path(directory) / "model.onnx"
            export(network, 32, choice, model)
            program = compile_program(read_onnx(model)).program
            print(f"\n{network}, {choice}, 32x32\n\n| | {' | '.join(COLUMNS)} |")
            print("| --- |" + " --- |" * len(COLUMNS))
            found: list[dict[str, Any]] = []
            for label, device, protocol in rows():
                row = {"row": label, **measure(program, device, protocol)}
                found.append(row)
                gain = found[0]["makespan_ms"] / row["makespan_ms"]
                print(
                    f"| {label} | {row['makespan_ms']:.1f} | {gain:.1f}x | {row['array_ms']:.2f} "
                    f"| {row['comparator_ms']:.2f} | {row['aes_ms']:.2f} | {row['aes_beyond_ms']:.2f} "
                    f"| {row['link_ms']:.1f} |",
                    flush=True,
                )
            tables.append({"network": network, "choice": choice, "image_size": 32, "rows": found})
    document = {"what": "modelled", "budget": budget.to_dict()["totals"], "tables": merged(known, tables)}
    write_whole_json(options.output, document)


if __name__ == "__main__":
    main()
