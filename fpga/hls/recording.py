"""`python -m rrnet_nni.fpga.hls.recording`: one accelerator alone, against the words that the other party sent.

`csim --record DIR` keeps a party's files, what arrived at its accelerator (peer.bin) and what that answered. A replay
runs one accelerator again without its peer, in C simulation here and in the vendor's co-simulation (`fpga/hls/vitis`),
which must end with the same memory and the same messages.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.errors import Refusal

from ..devices import load_device
from .simulator import build_simulator, check_ended

EXAMPLE = """example:
  python -m rrnet_nni.fpga.hls.csim build/ --input x.npy --record recorded/
  python -m rrnet_nni.fpga.hls.recording recorded/party0 --party 0
"""
#: What the accelerator reads; peer.bin is what arrived.
INPUTS = ("instructions.bin", "operands.bin", "memory.bin", "material.bin", "keys.bin", "peer.bin")
#: What it must leave behind: its memory, and what it sent.
ANSWERS = ("memory.out", "sent.out")
OTHER_WORDS = 65  # exit status of the test bench


def check_recording(record: Path, parties: Sequence[int]) -> None:
    """Before a run: its accelerators' files can be kept in `record`.

    Raises:
        Refusal: a recording is there already, or the directory cannot be made.
    """
    for party in parties:
        if (record / f"party{party}").exists():
            raise Refusal(f"{record / f'party{party}'} already exists")
    try:
        record.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"{record} cannot be written: {error.strerror or error}") from error


def save_recording(scratch: Path, record: Path, party: int) -> Path:
    """Keep an accelerator's files after a run in `record`/party0 or party1."""
    folder = record / f"party{party}"
    folder.mkdir(mode=0o700)  # it holds the party's keys and shares
    shutil.copyfile(scratch / "peer.out", folder / "peer.bin")
    for name in (*INPUTS[:-1], *ANSWERS):
        shutil.copyfile(scratch / name, folder / name)
    for file in folder.iterdir():
        file.chmod(0o600)
    return folder


def replay(folder: Path, party: int, simulator: Path) -> dict[str, bool]:
    """Run a recorded accelerator alone; which of its answers are those of the recording.

    Raises:
        Refusal: the directory does not hold a recording.
        ExecutionFault: the accelerator stopped; the sentence says why.
    """
    missing = [name for name in (*INPUTS, *ANSWERS) if not (folder / name).is_file()]
    if missing:
        raise Refusal(f"{folder} is no recording: it holds no {missing[0]}")
    finished = subprocess.run([simulator, str(party), folder], capture_output=True, text=True, check=False)
    if finished.returncode != OTHER_WORDS:
        check_ended(party, finished.returncode, finished.stderr)
    found: dict[str, bool] = json.loads(finished.stdout)
    return found


def make_parser() -> Parser:
    parser = Parser(prog="python -m rrnet_nni.fpga.hls.recording", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("recording", help="one party's directory of what csim --record kept")
    parser.add_argument("--party", type=int, choices=(0, 1), required=True, help="the party that recorded it")
    parser.add_argument("--device", default="zcu104", help="device of the build")
    parser.add_argument("--sanitize", action="store_true", help="with address and undefined-behaviour sanitizers")
    parser.add_argument(
        "--types",
        type=Path,
        metavar="DIR",
        help="with the vendor's ap_int.h and hls_stream.h of this directory",
    )
    add_common_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    simulator = build_simulator(load_device(options.device), sanitize=options.sanitize, types=options.types)
    found = replay(Path(options.recording), options.party, simulator)
    if options.json:
        print_json(found)
    else:
        for name, same in found.items():
            print(f"{name}: {'as recorded' if same else 'NOT as recorded'}")
    return 0 if all(found.values()) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(make_parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
