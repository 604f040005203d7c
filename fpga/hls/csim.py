"""`python -m rrnet_nni.fpga.hls.csim`: two accelerators in C simulation run a build and reveal the logits.

They read the same build directory and use up the same prepared material as `rrnet-2pc-run`, and open the same words.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.errors import Refusal

from ..compiler.schedule.accelerated import why_not_accelerated
from ..cost.budget import MAX_BANDS, MAX_TILES
from ..program.build import INSTRUCTIONS, OPERANDS, Build, build_device, load_build, read_build_file
from ..program.operands import decode_operands
from ..program.reference import decode_tensor
from ..protocols import accelerated_names, get_costs, get_execution
from ..runtime.link.link import Link
from ..runtime.material.dealer import prepare_set
from ..runtime.material.store import MaterialStore
from ..runtime.session.agreement import Terms
from ..runtime.session.inputs import load_build_images
from ..runtime.session.session import Party, SessionResult
from .host import AcceleratedExecution, Counted, Fabric
from .recording import check_recording
from .simulator import PEER_GONE, STATUSES, build_simulator

EXAMPLE = """example:
  rrnet-2pc-compile model.onnx -o build/ --calibrate images.npy
  python -m rrnet_nni.fpga.hls.csim build/ --input x.npy
"""
#: Silence of the other party after which a party gives up; the simulation itself may take long.
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Simulated:
    """What two accelerators computed: words of the logits, and what each counted per image."""

    logits: np.ndarray
    counted: tuple[list[Counted], list[Counted]]
    seconds: float


def simulate_accelerators(
    build: Build,
    images: np.ndarray,
    material: Path,
    sanitize: bool = False,
    seed: int = 0,
    accelerated: tuple[int, ...] = (0, 1),
    record: Path | None = None,
) -> Simulated:
    """Run the parties' accelerators on images (uint32 words [N, *shape]), using up prepared material.

    Args:
        build: from `load_build`, with its weights.
        images: words of the input.
        material: what `rrnet-2pc-prepare` wrote for this build.
        sanitize: with address and undefined-behaviour sanitizers.
        seed: of the order in which units that can go on take turns; 0 is a fixed order.
        accelerated: the parties with an accelerator; any other is software.
        record: keep the first image's files of every accelerator in this directory (`recording.py`).

    Raises:
        Refusal: no compiler, no place for the recording, or a build or material that does not fit.
        ExecutionFault: an accelerator stopped; the sentence says why.
    """
    if build.protocol_name not in (known := accelerated_names()):
        raise Refusal(f"the accelerator has no protocol {build.protocol_name!r}; it has {', '.join(known)}")
    if reason := why_not_accelerated(build.program, get_costs(build.protocol_name)):
        raise Refusal(reason)
    if record is not None:
        check_recording(record, accelerated)
    simulator = build_simulator(build_device(build), sanitize=sanitize)
    instructions, operands = (read_build_file(build.path, name) for name in (INSTRUCTIONS, OPERANDS))
    _check_records(operands)
    wires, sessions = socket.socketpair(), socket.socketpair()
    fabrics = [
        Fabric(simulator, instructions, operands, end.fileno() if len(accelerated) == 2 else -1, seed, record)
        if number in accelerated
        else None
        for number, end in enumerate(wires)
    ]
    execution = AcceleratedExecution(get_execution(build.protocol_name), (fabrics[0], fabrics[1]))
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(_run_party, number, build, images, material, execution, (sessions[number], wires[number]))
            for number in (0, 1)
        ]
        failures = [failure for future in futures if (failure := future.exception())]
        for end in (*wires, *sessions):
            end.close()
    if failures:
        raise min(failures, key=lambda failure: STATUSES[PEER_GONE] in str(failure))  # the cause, not its consequence
    logits = futures[0].result().logits
    if logits is None:
        raise Refusal("the logits were opened to nobody")
    counted = [execution.boards[n].counted if n in execution.boards else [] for n in (0, 1)]
    return Simulated(logits, (counted[0], counted[1]), time.perf_counter() - started)


def _check_records(operands: bytes) -> None:
    sections = decode_operands(operands).sections
    for name, most in (("tiles", MAX_TILES), ("bands", MAX_BANDS)):
        if len(sections[name]) > most:
            raise Refusal(f"the program has {len(sections[name]):,} {name}, the accelerator has records of {most:,}")


def _run_party(
    number: int,
    build: Build,
    images: np.ndarray,
    material: Path,
    execution: AcceleratedExecution,
    ends: tuple[socket.socket, socket.socket],
) -> SessionResult:
    """One party's session over the first end; messages between two accelerators go over the second."""
    end, wire = ends
    batch = len(images) if execution.accelerators == 2 else 1  # an accelerator works on one image at a time
    terms = Terms(build.program_digest, execution.name, 0, len(images) if number == 0 else None, batch)
    with MaterialStore(material, number) as store, Link(end, f"party {1 - number}", TIMEOUT_S) as link:
        party = Party(number, build.program, execution, link, store)
        try:
            return party.run(terms, images if number == 0 else None, build.weights if number == 1 else None)
        except Exception as error:
            link.abort(str(error))
            wire.shutdown(socket.SHUT_RDWR)  # the other accelerator has nobody to wait for
            raise


def make_parser() -> Parser:
    parser = Parser(prog="python -m rrnet_nni.fpga.hls.csim", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("build", help="build directory of rrnet-2pc-compile")
    parser.add_argument("--input", required=True, metavar="FILE", help="images, .npy or .npz")
    parser.add_argument("--material", metavar="DIR", help="material of rrnet-2pc-prepare (default: made now)")
    parser.add_argument("--sanitize", action="store_true", help="with address and undefined-behaviour sanitizers")
    parser.add_argument(
        "--software", type=int, choices=(0, 1), metavar="PARTY", help="this party is software, the other an accelerator"
    )
    parser.add_argument("--record", metavar="DIR", help="keep the first image's files, to replay one accelerator alone")
    parser.add_argument(
        "--seed", type=_seed, default=0, help="seed of the order in which units take turns (0: a fixed order)"
    )
    add_common_options(parser)
    return parser


def _seed(text: str) -> int:
    """A number of 64 bits, which is what the accelerator's register holds."""
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^64 - 1")
    return int(text)


def run(options: argparse.Namespace) -> int:
    build = load_build(options.build)
    loaded = load_build_images(Path(options.input), build)
    if loaded.warning is not None:
        sys.stderr.write(f"rrnet_nni.fpga.hls.csim: {loaded.warning}\n")
    images = loaded.words
    with tempfile.TemporaryDirectory(prefix="rrnet-csim-") as scratch:
        material = Path(options.material or Path(scratch) / "material")
        if options.material is None:
            execution = get_execution(build.protocol_name)
            prepare_set(material, build.program, build.program_digest, execution, len(images))
        accelerated = tuple(number for number in (0, 1) if number != options.software)
        record = None if options.record is None else Path(options.record)
        simulated = simulate_accelerators(build, images, material, options.sanitize, options.seed, accelerated, record)
    answer = describe(build, simulated)
    if options.json:
        print_json(answer)
    else:
        sent = " and ".join(f"{size:,}" for size in answer["bytes_sent"])
        beside = "two accelerators" if options.software is None else "an accelerator beside a software party"
        print(f"{build.program.name}: {len(images)} images on {beside} in C simulation")
        print(f"  {answer['instructions']:,} instructions each, {sent} bytes sent, {answer['simulated_s']:.2f} s")
        print(f"  classes {' '.join(str(int(np.argmax(row))) for row in answer['logits'])}")
    return 0


def describe(build: Build, simulated: Simulated) -> dict[str, Any]:
    """What `--json` prints: online bytes of both parties, and the logits."""
    sent, received = (
        [sum(getattr(image, name) for image in party) for party in simulated.counted]
        for name in ("bytes_sent", "bytes_received")
    )
    return {
        "simulated_s": simulated.seconds,
        "instructions": max(image.instructions for party in simulated.counted for image in party),
        "bytes_sent": [sent[n] if simulated.counted[n] else received[1 - n] for n in (0, 1)],  # software counts none
        "logits": decode_tensor(build.program, build.program.output, simulated.logits).tolist(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(make_parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
