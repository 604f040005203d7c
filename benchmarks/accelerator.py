"""What the accelerator of fpga/hls gains over the array that the paper's figures imply, on whole scheduled networks.

    python benchmarks/accelerator.py               the table, and docs/results/accelerator.json
    python benchmarks/accelerator.py --networks resnet18 --choices relu

Every row is a compiled network on a pair of boards at 1 GB/s, scheduled with the same scheduler:

    paper, 3 products   `zcu104` (rates fitted to the paper, depthwise starved), the products of Eq. 2 as printed, the
                        paper's comparison: a cost model, not executable
    beaver-ot, masked   executed protocols, on `zcu104` (the same array, two products or one) and on `zcu104-rrnet`
    no depthwise mode   `zcu104-rrnet` with its depthwise dataflow taken away

Times are modelled: cycles of the kernels from formulas that verilated modules confirm, memory and link from the device
files.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from schedule import export

from rrnet_nni.fpga.compiler.compile import compile_program
from rrnet_nni.fpga.compiler.frontend import read_onnx
from rrnet_nni.fpga.compiler.schedule import schedule_program
from rrnet_nni.fpga.cost.budget import check_budget
from rrnet_nni.fpga.devices import Device, load_device
from rrnet_nni.fpga.isa import Queue
from rrnet_nni.fpga.program import Program
from rrnet_nni.fpga.protocols import get_protocol

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "accelerator.json"
CASES = (("resnet18", "relu"), ("resnet18", "poly"), ("mobilenet_v2", "poly"))
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
    ]


def measure(program: Program, device: Device, protocol: str) -> dict[str, Any]:
    schedule = schedule_program(program, device, get_protocol(protocol))
    ms = 1e3 / device.clock_hz
    return {
        "device": device.name,
        "protocol": protocol,
        "makespan_ms": schedule.makespan * ms,
        "array_ms": schedule.busy[Queue.ARRAY] * ms,
        "comparator_ms": schedule.busy[Queue.COMPARATOR] * ms,
        "link_ms": max(schedule.busy[Queue.SEND], schedule.busy[Queue.RECEIVE]) * ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[network for network, _ in CASES])
    parser.add_argument("--choices", nargs="+", default=["relu", "poly"])
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    budget = check_budget(load_device(OURS))
    tables = []
    with tempfile.TemporaryDirectory() as directory:
        for network, choice in CASES:
            if network not in options.networks or choice not in options.choices:
                continue
            model = Path(directory) / "model.onnx"
            export(network, 32, choice, model)
            program = compile_program(read_onnx(model)).program
            print(f"\n{network}, {choice}, 32x32\n\n| | makespan ms | gain | array ms | comparator ms | link ms |")
            print("| --- | --- | --- | --- | --- | --- |")
            found: list[dict[str, Any]] = []
            for label, device, protocol in rows():
                row = {"row": label, **measure(program, device, protocol)}
                found.append(row)
                gain = found[0]["makespan_ms"] / row["makespan_ms"]
                print(
                    f"| {label} | {row['makespan_ms']:.1f} | {gain:.1f}x | {row['array_ms']:.2f} "
                    f"| {row['comparator_ms']:.2f} | {row['link_ms']:.1f} |",
                    flush=True,
                )
            tables.append({"network": network, "choice": choice, "image_size": 32, "rows": found})
    document = {"what": "modelled", "budget": budget.to_dict()["totals"], "tables": tables}
    options.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
