"""Two accelerators in C simulation beside two software parties, on the networks that the accelerator is for.

Compiles a mixed ResNet-8 for the digits' size and the all-polynomial ResNet-18 for 32x32 images (random weights), runs
both executions with the same prepared material and compares the logits word by word. Seconds are those of a simulation
on this machine; they say nothing of a board.

    make csim                                  both networks, every protocol that the accelerator has
    python benchmarks/hardware/accelerator_simulation.py --protocols masked
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from rrnet_nni.base.console import Parser, add_common_options, run_command
from rrnet_nni.export import export_onnx
from rrnet_nni.fpga.compiler.compile import compile_model
from rrnet_nni.fpga.hls.csim import simulate_accelerators
from rrnet_nni.fpga.program.build import load_build
from rrnet_nni.fpga.program.reference import decode_tensor
from rrnet_nni.fpga.protocols import accelerated_names, get_execution
from rrnet_nni.fpga.runtime.material.dealer import prepare_set
from rrnet_nni.fpga.runtime.session.inputs import load_input
from rrnet_nni.search_spaces import SpaceOptions, build_network, candidates_of, fixed_choices


def mixed_choices(backbone: str, options: SpaceOptions) -> Mapping[str, str]:
    """Every gate the other candidate than the gate before."""
    gates = candidates_of(backbone, options).items()
    return {label: candidates[index % len(candidates)] for index, (label, candidates) in enumerate(gates)}


def compare(name: str, backbone: str, options: SpaceOptions, choices: Mapping[str, str], protocol: str) -> bool:
    """Print one line; False where the words differ."""
    torch.manual_seed(0)
    network = build_network(backbone, options, choices).eval()
    shape = (options.channels, options.image_size, options.image_size)
    with tempfile.TemporaryDirectory(prefix="rrnet-accelerator-") as scratch:
        folder = Path(scratch)
        export_onnx(network, shape, folder / "model.onnx")
        images = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
        np.save(folder / "calibration.npy", images)
        np.save(folder / "image.npy", images[:1])
        model, calibration = folder / "model.onnx", folder / "calibration.npy"
        compile_model(model, folder / "build", protocol=protocol, calibrate_with=calibration)
        build = load_build(folder / "build")
        words = load_input(folder / "image.npy", build.program)
        prepare_set(folder / "material", build.program, build.program_digest, get_execution(protocol), 1)
        shutil.copytree(folder / "material", folder / "copy")
        found = simulate_accelerators(build, words, folder / "material")
        command = [
            sys.executable,
            "-m",
            "rrnet_nni.fpga.runtime.commands.run",
            build.path,
            "--input",
            folder / "image.npy",
        ]
        command += ["--material", folder / "copy", "--json"]
        finished = subprocess.run([*map(str, command)], capture_output=True, check=True)
        answer = json.loads(finished.stdout)
    same = np.array_equal(decode_tensor(build.program, build.program.output, found.logits), answer["logits"])
    counted = found.counted[0][0]
    print(
        f"{name} ({protocol}): {counted.instructions:,} instructions, {counted.bytes_sent:,} and "
        f"{counted.bytes_received:,} bytes, simulated in {found.seconds:.1f} s: "
        f"{'the words of the software parties' if same else 'OTHER WORDS than the software parties'}",
        flush=True,
    )
    return same


def run(options: argparse.Namespace) -> int:
    small, large = SpaceOptions(channels=1, image_size=16), SpaceOptions(channels=3, image_size=32)
    polynomial = fixed_choices("resnet18", large, "x2act", "avgpool")
    same = [
        compare("mixed ResNet-8, 16x16", "resnet8", small, mixed_choices("resnet8", small), protocol)
        for protocol in options.protocols
    ]
    same += [
        compare("polynomial ResNet-18, 32x32", "resnet18", large, polynomial, protocol)
        for protocol in options.protocols
        if protocol != "masked-dcf"  # it compares nothing, so that this is masked
    ]
    return 0 if all(same) else 1


def main() -> int:
    parser = Parser(prog="accelerator_simulation.py", description=__doc__)
    parser.add_argument("--protocols", nargs="+", default=accelerated_names(), choices=accelerated_names())
    add_common_options(parser, json_output=False)
    return run_command(parser, run)


if __name__ == "__main__":
    sys.exit(main())
