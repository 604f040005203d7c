"""`rrnet-2pc-run`: two parties execute a compiled program and open the logits to one of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...program import ARGMAX, LOGITS
from ...protocols import executions
from ..link.ahead import LAN, WAN
from ..link.strands import MOST_STRANDS
from ..material.party_set import PREPROCESSINGS
from ..session.client_values import UNITS
from ..session.output_policy import ROUNDED
from ..session.pacing import DEVICE_CLOCK, WALL_CLOCK
from .answer import table
from .children import tidy_end
from .local_run import run_local
from .party_options import add_party_options, check_one_or_both, count, reveal_policy
from .party_process import run_party

#: Parts of a batch at once: two keep both parties busy, and more cost memory.
STRANDS = 2

EXAMPLES = """\
examples:
  rrnet-2pc-run build/ --input photo.jpg              both parties and the dealer on this machine
  rrnet-2pc-run build/ --input images.npy             the same for an array of images
  rrnet-2pc-run build/ --input images.npz --json      the same, for a program
  rrnet-2pc-prepare build/ --count 100                the material that the parties take in two terminals:
  rrnet-2pc-run build/ --party 1 --listen 127.0.0.1:7700                             the server
  rrnet-2pc-run build/ --party 0 --connect 127.0.0.1:7700 --input images.npy         the client

Party 0 is the client and owns the images, party 1 the server and owns the model (weights.bin). The correlated
randomness comes from a dealer that both trust not to collude with either, or, with --preprocessing two-party, from the
two parties alone; rrnet-2pc-prepare makes it beforehand.
"""


def parser() -> Parser:
    """The command line."""
    result = Parser(prog="rrnet-2pc-run", description=__doc__, epilog=EXAMPLES)
    result.add_argument("build", type=Path, help="build directory of rrnet-2pc-compile")
    _add_values(result)
    result.add_argument("--protocol", help=f"{', '.join(executions())} (default: the one of the build)")
    _add_speed(result)
    result.add_argument("--material", type=Path, metavar="DIR", help="prepared material (default: BUILD.material)")
    result.add_argument(
        "--preprocessing",
        choices=PREPROCESSINGS,
        help="who makes the material (default: who made what is there, else a dealer)",
    )
    add_party_options(result)
    result.add_argument(
        "--quota",
        type=count,
        metavar="N",
        help="how many images the other party's certificate may use in all, over sessions and sets of material",
    )
    result.add_argument(
        "--pace",
        choices=(WALL_CLOCK, DEVICE_CLOCK),
        default=WALL_CLOCK,
        help="`device` takes as long online as the model of two boards says (default: as fast as it goes)",
    )
    add_common_options(result)
    return result


def _add_values(result: Parser) -> None:
    """Options of what goes in and what comes out."""
    result.add_argument(
        "--input", type=Path, metavar="PATH", help="a picture, a folder of pictures, or images as .npy or .npz"
    )
    result.add_argument(
        "--units",
        choices=UNITS,
        help="what the numbers of an array mean: 0..255, 0..1, or what the network takes (default: integers are "
        "pixels, others the network's, where they can be nothing else)",
    )
    result.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="also write the logits, or what the model makes of them, to this .npy",
    )
    result.add_argument("--reveal-to", type=int, choices=(0, 1), default=0, help="who learns the logits (default 0)")
    result.add_argument(
        "--reveal",
        type=reveal_policy,
        metavar="POLICY",
        help=f"how much of them: {LOGITS}, {ROUNDED}:BITS for so many fraction bits, or {ARGMAX} of a build that "
        "computes it (default: what the build computes); both must agree",
    )


def _add_speed(result: Parser) -> None:
    """Options of how the work is laid out, which change no value."""
    result.add_argument("--batch", type=_positive, metavar="N", help="images evaluated at once (default: by memory)")
    result.add_argument(
        "--strands",
        type=_strands,
        default=STRANDS,
        metavar="N",
        help="parts of a batch that are evaluated side by side: while one waits for the other party, another one "
        f"computes (default {STRANDS})",
    )
    result.add_argument(
        "--link",
        choices=(LAN, WAN),
        default=LAN,
        help="`wan`: on a long link rows of an image go on while others wait, where both parties say so; of `masked` "
        f"and `masked-dcf` (default: {LAN}, where parts of a batch do)",
    )
    result.add_argument(
        "--threads",
        type=_positive,
        metavar="N",
        help="of a party's kernels (default: the machine's cores, shared by the parties that run on it)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _strands(text: str) -> int:
    if (strands := _positive(text)) > MOST_STRANDS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than the {MOST_STRANDS} that a link takes")
    return strands


def run(options: argparse.Namespace) -> int:
    """Execute and report."""
    check_one_or_both(options)
    if options.quota is not None and options.tls is None:
        raise Refusal("--quota counts what the other party's certificate uses: it needs --tls DIR")
    if options.output is not None and (options.output.is_dir() or not options.output.parent.is_dir()):
        raise Refusal(f"{options.output} cannot be written: it is a directory, or its directory does not exist")
    with tidy_end(options.ends_with_parent):
        answer = run_local(options) if options.party is None else run_party(options)
    if options.json:
        print_json(answer)
    else:
        sys.stdout.write(table(answer) + "\n")
    if options.output is not None and answer["logits"] is not None:
        _save(options.output, answer.get("outputs", answer["logits"]))
    return 0


def _save(path: Path, logits: list[list[float]]) -> None:
    try:
        with path.open("wb") as file:
            np.save(file, np.asarray(logits))
    except OSError as error:
        raise ExecutionFault(f"{path} cannot be written: {error.strerror}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet-2pc-run`."""
    return run_command(parser(), run, arguments, lambda: {"protocol": executions()})


if __name__ == "__main__":
    sys.exit(main())
