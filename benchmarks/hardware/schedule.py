"""Quality of the schedule and speed of the compiler, on the backbones of the paper or on given ONNX files.

    python benchmarks/hardware/schedule.py                         five backbones at 32x32, two at 224x224
    python benchmarks/hardware/schedule.py --networks resnet50@224 --choices relu
    python benchmarks/hardware/schedule.py model.onnx other.onnx
    python benchmarks/hardware/schedule.py --proven                small networks in few tiles, beside CP-SAT's bounds
    python benchmarks/hardware/schedule.py -o docs/results/schedule.json    its other rows are kept
    python benchmarks/hardware/schedule.py --proven -o docs/results/schedule_proven.json

Per network: makespan, the largest lower bound and their ratio, the sum of operators that a search uses and its ratio
to the makespan, instructions, CPU time and peak memory of the compilation. Every network is compiled in a process of
its own, so that memory is that of one compilation. At 224 pixels the stem is ImageNet's, where a backbone has it.
`mixed` takes ReLU and X2act in turn; `searched` is what `rrnet search` found, for the backbones in `searched/`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rrnet_nni.base.files import write_whole_json

NETWORKS = (
    *(f"{backbone}@32" for backbone in ("vgg16", "mobilenet_v2", "resnet18", "resnet34", "resnet50")),
    *("resnet50@224", "mobilenet_v2@224"),
)
LARGE_IMAGE = 64
#: What constraint programming can prove something about within minutes.
SMALL_NETWORKS, SMALL_TILES, PROOF_SECONDS = ("resnet8@16",), (1, 2), 10.0
CHOICES = ("relu", "poly", "mixed", "searched")
#: architecture.json of searches, by backbone.
SEARCHED = Path(__file__).parents[1] / "searched"


def export(backbone: str, image_size: int, choice: str, path: Path) -> None:
    """An untrained network with BatchNorm statistics of noise: the schedule depends on shapes alone."""
    import torch

    from rrnet_nni.architecture import Architecture
    from rrnet_nni.export import export_onnx
    from rrnet_nni.search_spaces import SpaceOptions, build_network, fixed_choices
    from rrnet_nni.search_spaces import backbone as backbone_named

    torch.manual_seed(0)
    stem = "imagenet" if image_size >= LARGE_IMAGE and "imagenet" in backbone_named(backbone).stems else None
    options = SpaceOptions(
        image_size=image_size, stem=stem, x2act="plain", x2act_w1=5e-4
    )  # untrained squares of more would explode
    relu = fixed_choices(backbone, options, activation="relu", pooling="maxpool")
    polynomial = fixed_choices(backbone, options, activation="x2act", pooling="avgpool")
    mixed = {label: (relu if index % 2 else polynomial)[label] for index, label in enumerate(relu)}
    choices = {"relu": relu, "poly": polynomial, "mixed": mixed}
    if choice == "searched":
        choices["searched"] = Architecture.load(SEARCHED / f"{backbone}.json").choices
    network = build_network(backbone, options, choices[choice])
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(4, 3, image_size, image_size))
    export_onnx(network.eval(), (3, image_size, image_size), path)


def cases(networks: Sequence[str], choices: Sequence[str]) -> list[tuple[str, str]]:
    """Every network in every choice; those that were not searched are left out."""
    found = [path.stem for path in SEARCHED.glob("*.json")]
    return [(n, c) for n, c in product(networks, choices) if c != "searched" or n.split("@")[0] in found]


def measure(model: Path, device: str, protocol: str) -> dict[str, Any]:
    """Compile in a process of its own; its answer with compile time and peak memory."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, __file__, "--worker", str(model), directory, "--device", device]
        done = subprocess.run([*command, "--protocol", protocol], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def work(model: Path, directory: Path, device: str, protocol: str) -> None:
    import time

    from rrnet_nni.fpga.compiler.check.check import check_build
    from rrnet_nni.fpga.compiler.compile import compile_model

    started = time.process_time()
    compilation = compile_model(model, directory / "build", device, protocol)
    seconds = time.process_time() - started
    peak = peak_mb()
    check = check_build(directory / "build")
    report = compilation.report
    keys = ("makespan_ms", "lower_bound_ms", "operator_sum_ms", "rounds", "comparisons", "instructions")
    answer = {key: report[key] for key in keys} | {"compile_cpu_s": round(seconds, 2), "peak_mb": round(peak)}
    answer["makespan_over_bound"] = report["makespan_ms"] / report["lower_bound_ms"]
    answer["operator_sum_over_makespan"] = report["operator_sum_ms"] / report["makespan_ms"]
    answer["simulated_over_scheduled"] = check.makespan_cycles / report["schedule"]["makespan_cycles"]
    answer["bounds_ms"] = report["schedule"]["bounds_ms"]
    print(json.dumps(answer))


def prove(model: Path, device: str, protocol: str) -> Iterator[dict[str, Any]]:
    """List schedules of a model beside what CP-SAT proves of the same jobs, in cycles."""
    from rrnet_nni.fpga.compiler.compile import compile_program
    from rrnet_nni.fpga.compiler.onnx.frontend import read_onnx
    from rrnet_nni.fpga.compiler.schedule.optimal import optimize
    from rrnet_nni.fpga.compiler.schedule.schedule import schedule_program
    from rrnet_nni.fpga.devices import load_device
    from rrnet_nni.fpga.protocols import get_costs

    program, described = compile_program(read_onnx(model)).program, load_device(device)
    for tiles in SMALL_TILES:
        listed = schedule_program(program, described, get_costs(protocol), (tiles,))
        best = optimize(listed, PROOF_SECONDS)
        yield {
            "tiles": tiles,
            "jobs": len(listed.jobs),
            "list_cycles": listed.makespan,
            "cp_sat_cycles": best.makespan,
            "own_bound_cycles": listed.lower_bound,
            "proven_bound_cycles": best.proven,
            "list_over_proven": listed.makespan / best.proven,
        }


def prove_all(options: argparse.Namespace) -> None:
    """Print what is proven of the small networks, and keep it."""
    print("| network | tiles | jobs | list, cycles | CP-SAT, cycles | own bound | proven bound | list / proven |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as directory:
        for network, choice in cases(SMALL_NETWORKS, options.choices):
            model = Path(directory) / f"{network}-{choice}.onnx"
            backbone, pixels = network.split("@")
            export(backbone, int(pixels), choice, model)
            for found in prove(model, options.device, options.protocol):
                *cycles, ratio = list(found.values())
                figures = [f"{value:,}" for value in cycles]
                print(f"| {network} {choice} | {' | '.join(figures)} | {ratio:.4f} |", flush=True)
                if options.output is not None:
                    row = {"network": f"{network} {choice}", "device": options.device, "protocol": options.protocol}
                    keep(options.output, row | found)


def peak_mb() -> float:
    """The most memory that this process has held; `getrusage` would count what the parent held when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="BACKBONE@PIXELS")
    parser.add_argument("--choices", nargs="+", default=CHOICES, choices=CHOICES)
    parser.add_argument("--device", default="zcu104")
    parser.add_argument("--protocol", default="beaver-ot")
    parser.add_argument("--proven", action="store_true", help="small networks beside CP-SAT's bounds instead")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for the rows")
    parser.add_argument("--worker", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker, options.device, options.protocol)
        return
    if options.proven:
        prove_all(options)
        return
    print("| network | makespan ms | bound ms | ratio | operator sum ms | gain | instructions | CPU s | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as directory:
        jobs = [(model.stem, model) for model in options.models]
        if not jobs:
            wanted = cases(options.networks, options.choices)
            jobs = [(f"{network} {choice}", Path(directory) / f"{network}-{choice}.onnx") for network, choice in wanted]
        for name, model in jobs:
            if not model.exists():
                network, choice = name.split()
                backbone, pixels = network.split("@")
                export(backbone, int(pixels), choice, model)
            row = {"network": name, "device": options.device, "protocol": options.protocol}
            row |= measure(model, options.device, options.protocol)
            print(table_row(row), flush=True)
            if options.output is not None:
                keep(options.output, row)


def table_row(row: dict[str, Any]) -> str:
    return (
        f"| {row['network']} | {row['makespan_ms']:.2f} | {row['lower_bound_ms']:.2f} "
        f"| {row['makespan_over_bound']:.3f} | {row['operator_sum_ms']:.2f} | {row['operator_sum_over_makespan']:.3f} "
        f"| {row['instructions']:,} | {row['compile_cpu_s']:.1f} | {row['peak_mb']} |"
    )


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown for docs, with the bounds that know no joins besides; searched networks last."""
    lines = [
        "| network | makespan ms | bound ms | ratio | queues and critical path alone ms | operator sum ms | gain "
        "| instructions |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    order = [f"{network} {choice}" for network, choice in product(NETWORKS, CHOICES)]
    for row in sorted(rows, key=lambda row: (row["network"].endswith("searched"), order.index(row["network"]))):
        alone = max(value for name, value in row["bounds_ms"].items() if name != "joins")
        lines.append(
            f"| {row['network']} | {row['makespan_ms']:.2f} | {row['lower_bound_ms']:.2f} "
            f"| {row['makespan_over_bound']:.3f} | {alone:.2f} | {row['operator_sum_ms']:.2f} "
            f"| {row['operator_sum_over_makespan']:.3f} | {row['instructions']:,} |"
        )
    return "\n".join(lines)


def keep(path: Path, row: dict[str, Any]) -> None:
    """Write the row into the file, in place of that of the same network."""
    rows = json.loads(path.read_text()) if path.exists() else []
    same = [key for key in ("network", "device", "protocol", "tiles") if key in row]
    others = [other for other in rows if any(other[key] != row[key] for key in same)]
    write_whole_json(path, [*others, row])


if __name__ == "__main__":
    main()
