"""Two parties without a dealer: preprocessing and online phase together, beside SPU's CHEETAH.

The plain-stem all-ReLU ResNet-18, one 32x32 image, two processes on loopback. CHEETAH has no separate preprocessing:
its time is that of the whole inference. Only ratios of one run mean something.

    python benchmarks/parties/preprocessing.py                    ours alone, both protocols (half a minute)
    python benchmarks/parties/preprocessing.py --phases           and the time and bytes of every kind of operation
    python benchmarks/parties/preprocessing.py --install-peer     SPU, into an environment of its own
    python benchmarks/parties/preprocessing.py --peer             both (about five minutes)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cheetah_peer
import numpy as np
from two_party_network import ACTIVATIONS, ResNet18

from rrnet_nni.fpga.program import ConvOp, LinearOp, Program
from rrnet_nni.fpga.program.reference import run_reference
from rrnet_nni.fpga.program.write_build import write_build
from rrnet_nni.fpga.protocols import get_execution, preparations
from rrnet_nni.fpga.runtime.material.key_chain import PartyKeys
from rrnet_nni.fpga.runtime.session.two_party_prepare import prepare_in_process

#: Truncations round at random; as a part of the largest logit.
LOGIT_TOLERANCE = 0.25


def command(module: str, *arguments: object) -> dict[str, Any]:
    line = [sys.executable, "-m", f"rrnet_nni.fpga.runtime.commands.{module}", *map(str, arguments), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return json.loads(subprocess.run(line, check=True, capture_output=True, env=environment).stdout)


def prepare_in_one_process(program: Program, protocol: str) -> float:
    """Seconds of the processor for both parties' material for one image, no interpreter's start among them."""
    started = time.process_time()
    prepare_in_process(program, get_execution(protocol), (PartyKeys.fresh(), PartyKeys.fresh()), 1)
    return time.process_time() - started


def measure_ours(directory: Path, protocol: str, activation: str, repetitions: int) -> dict[str, Any]:
    """Prepare and run, one image each time; medians."""
    build, image = directory / "build", directory / "image.npy"
    program, weights = ResNet18(activation).build()
    write_build(build, program, weights, {"device": "zcu104", "protocol": protocol})
    np.save(image, np.random.default_rng(0).normal(size=(1, 3, 32, 32)))
    expected = run_reference(program, weights, np.load(image))
    prepare_in_one_process(program, protocol)  # kernels are compiled and tables made
    processor_s = statistics.median(prepare_in_one_process(program, protocol) for _ in range(max(3, repetitions)))
    prepared, executed = [], []
    for repetition in range(repetitions):
        material = directory / f"material-{repetition}"
        prepared.append(command("prepare", build, "--count", 1, "--preprocessing", "two-party", "-o", material))
        executed.append(command("run", build, "--input", image, "--material", material))
        error = np.abs(np.array(executed[-1]["logits"]) - expected).max() / np.abs(expected).max()
        if error > LOGIT_TOLERANCE:
            raise SystemExit(f"the logits are off by {error:.1%} of the largest")
        if prepared[-1]["bytes_sent"] != prepared[-1]["predicted_bytes"]:
            raise SystemExit("the preprocessing did not send what is predicted")
    offline_s = statistics.median(answer["offline_s"] for answer in prepared)
    online_s = statistics.median(answer["online_s"] + answer["setup_s"] for answer in executed)
    memory = [answer["memory_mb"][party] for answer in (*prepared, *executed) for party in ("0", "1")]
    return {
        "system": protocol,
        "processor_s": processor_s,
        "offline_s": offline_s,
        "online_s": online_s,
        "total_s": offline_s + online_s,
        "offline_bytes": sum(prepared[0]["bytes_sent"]),
        "bytes": sum(prepared[0]["bytes_sent"]) + sum(executed[0]["bytes_sent"]),
        "memory_mb": max(memory),
        "phases": phases(program, prepared[-1]["operations"]),
    }


def phases(program: Program, steps: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Kind of operation -> milliseconds, of them waiting for the other party, and bytes by both, in party 0's eyes."""
    kinds = {operation.name: operation.kind for operation in program.operations}
    result: dict[str, dict[str, Any]] = {}
    for step in steps:
        row = result.setdefault(kinds.get(step["operation"], "setup"), {"ms": 0.0, "waited_ms": 0.0, "bytes": [0, 0]})
        row["ms"] += step["time_ms"]
        row["waited_ms"] += step["waited_ms"]
        row["bytes"] = [total + sent for total, sent in zip(row["bytes"], step["bytes_sent"])]
    return result


def described(program: Program) -> list[dict[str, Any]]:
    """The network for a peer that knows nothing of this project."""
    layers = []
    for operation in program.operations:
        layer: dict[str, Any] = {"kind": operation.kind, "name": operation.output, "inputs": operation.inputs}
        if isinstance(operation, ConvOp | LinearOp):
            layer["weights"] = program.constants[operation.weight].shape
        if isinstance(operation, ConvOp):
            layer |= {"stride": operation.stride, "padding": operation.padding}
        layers.append(layer)
    return layers


def measure_peer() -> dict[str, Any]:
    program, _ = ResNet18("relu").build()
    answer = cheetah_peer.run_cheetah(described(program), program.tensor(program.input).shape)
    return {"system": "CHEETAH", **answer, "memory_mb": max(answer["memory_mb"].values())}


def print_table(rows: list[dict[str, Any]]) -> None:
    seconds = f"{'processor s':>11} {'offline s':>10} {'online s':>10} {'total s':>10}"
    print(f"{'system':12} {seconds} {'MB both ways':>13} {'MB memory':>10}")
    for row in rows:
        parts = [f"{row[key]:.2f}" if key in row else "" for key in ("processor_s", "offline_s", "online_s", "total_s")]
        sent = f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else ""  # SPU does not count its own
        times = f"{parts[0]:>11} {parts[1]:>10} {parts[2]:>10} {parts[3]:>10}"
        print(f"{row['system']:12} {times} {sent:>13} {row['memory_mb']:10.0f}")
        if "time_ratio" in row:
            print(f"{'':12} {row['time_ratio']:.3f} of CHEETAH's time")


def print_phases(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for kind, phase in row.get("phases", {}).items():
            first, second = (sent / 1e6 for sent in phase["bytes"])
            print(
                f"{row['system']:12} {kind:10} {phase['ms']:9.0f} ms ({phase['waited_ms']:.0f} waiting) "
                f"{first:9.1f} MB by party 0 {second:9.1f} MB by party 1"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--protocol", choices=tuple(preparations()), help="one protocol alone")
    parser.add_argument("--phases", action="store_true", help="time and bytes of every kind of operation too")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="ours alone")
    parser.add_argument("--peer", action="store_true", help="measure CHEETAH too, all-ReLU")
    parser.add_argument("--install-peer", action="store_true", help="install SPU into an environment of its own")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, and nothing else")
    options = parser.parse_args()
    if options.install_peer:
        cheetah_peer.install()
        return
    if options.peer and not cheetah_peer.is_installed():
        raise SystemExit("SPU is not installed: --install-peer installs it")
    rows = []
    for protocol in (options.protocol,) if options.protocol else preparations():
        with tempfile.TemporaryDirectory() as directory:
            rows.append(measure_ours(Path(directory), protocol, options.activation, options.repetitions))
    if options.peer and options.activation == "relu":
        peer = measure_peer()
        for row in rows:
            row["time_ratio"] = row["total_s"] / peer["total_s"]
        rows.append(peer)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows)
        if options.phases:
            print_phases(rows)


if __name__ == "__main__":
    main()
