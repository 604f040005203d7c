"""`rrnet-2pc-simulate`: run the instructions of a build on the device model, on its own or another network."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.errors import Refusal

from ..devices import device_names, load_device
from ..program.build import INSTRUCTIONS, build_device, load_build, read_build_file
from ..program.isa import Queue, decode_instructions
from .schedule.simulate import Simulation, simulate

EXAMPLE = """example:
  rrnet-2pc-simulate build/
  rrnet-2pc-simulate build/ --bandwidth 12.5e6 --latency 0.02     100 Mbit/s, 20 ms
"""


def make_parser() -> Parser:
    parser = Parser(prog="rrnet-2pc-simulate", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("build", help="build directory of rrnet-2pc-compile")
    parser.add_argument("--device", help="a device by name or its YAML file (default: the build's)")
    parser.add_argument("--bandwidth", type=float, metavar="B/S", help="network bandwidth in bytes per second")
    parser.add_argument("--latency", type=float, metavar="S", help="message latency in seconds")
    add_common_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    build = load_build(options.build, weights=False)
    device = build_device(build) if options.device is None else load_device(options.device)
    bandwidth = device.bandwidth_bytes_per_s if options.bandwidth is None else options.bandwidth
    latency = device.message_latency_s if options.latency is None else options.latency
    if not (math.isfinite(bandwidth) and bandwidth > 0):
        raise Refusal(f"--bandwidth must be a positive number of bytes per second, not {bandwidth:g}")
    if not (math.isfinite(latency) and latency >= 0):
        raise Refusal(f"--latency must be seconds of at least 0, not {latency:g}")
    device = device.with_network(bandwidth, latency)
    instructions = decode_instructions(read_build_file(build.path, INSTRUCTIONS), str(build.path / INSTRUCTIONS))
    simulation = simulate(instructions, device)
    found = answer(simulation, device.clock_hz)
    if options.json:
        print_json(found)
        return 0
    print(f"{build.program.name} on two {device.name}: {found['makespan_ms']:.3f} ms, {found['cycles']:,} cycles")
    for name, fraction in found["busy"].items():
        print(f"  {name:<10} busy {100 * fraction:5.1f} %   waits {100 * found['stalled'][name]:5.1f} %")
    return 0


def answer(simulation: Simulation, clock_hz: float) -> dict[str, Any]:
    """What `--json` prints; `stalled` is the part of the time in which a queue has work that must wait."""
    makespan = max(1, simulation.makespan)
    return {
        "makespan_ms": 1e3 * simulation.makespan / clock_hz,
        "cycles": simulation.makespan,
        "busy": {queue.name.lower(): simulation.busy[queue] / makespan for queue in Queue},
        "stalled": {queue.name.lower(): simulation.stalled[queue] / makespan for queue in Queue},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(make_parser(), run, arguments, lambda: {"device": device_names()})
