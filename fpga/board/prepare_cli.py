"""`rrnet-2pc-prepare`: a dealer process makes the parties' correlated randomness, to be used once each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..compiler.build import load_build
from ..console import Parser, add_common_options, print_json, run_command
from .dealer import prepare_set
from .executions import get_execution
from .party_process import material_root
from .store import party_directory

EXAMPLES = """\
examples:
  rrnet-2pc-prepare build/ --count 100                 material for 100 images, in build.material
  rrnet-2pc-prepare build/ --count 100 -o /media/key   the same, elsewhere; then move party-0 to the client and
                                                       party-1 to the server

The dealer sees neither images nor weights nor messages. Both parties trust it to follow the protocol and to collude
with neither: its seeds and one party's messages together reveal everything.
"""


def parser() -> Parser:
    """The command line."""
    result = Parser(prog="rrnet-2pc-prepare", description=__doc__, epilog=EXAMPLES)
    result.add_argument("build", type=Path, help="build directory of rrnet-2pc-compile")
    result.add_argument("--count", type=_count, required=True, metavar="N", help="images to prepare for")
    result.add_argument("-o", "--output", dest="material", type=Path, metavar="DIR", help="default: BUILD.material")
    result.add_argument("--protocol", help="executable protocol (default: the one of the build)")
    result.add_argument("--replace", action="store_true", help="throw away unused material that is there")
    result.add_argument("--progress-lines", action="store_true", help=argparse.SUPPRESS)
    add_common_options(result)
    return result


def _count(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Prepare and report."""
    build = load_build(options.build, weights=False)
    execution = get_execution(options.protocol or build.protocol_name)
    root = material_root(options)
    seconds = prepare_set(
        root, build.program, build.program_digest, execution, options.count, options.replace, _progress(options)
    )
    sizes = [
        sum(file.stat().st_size for file in party_directory(root, party).iterdir() if file.is_file())
        for party in (0, 1)
    ]
    answer: dict[str, Any] = {
        "material": str(root),
        "protocol": execution.name,
        "preprocessing": "dealer",
        "count": options.count,
        "offline_s": seconds,
        "stored_bytes": sizes,
    }
    if options.json:
        print_json(answer)
    elif not options.progress_lines:
        sys.stdout.write(
            f"material for {options.count} images in {root} ({seconds:.2f} s; {sizes[0]:,} bytes for party 0, "
            f"{sizes[1]:,} for party 1), made by this process as the trusted dealer\n"
        )
    return 0


def _progress(options: argparse.Namespace) -> Callable[[int, int], None] | None:
    if options.progress_lines:
        return lambda done, count: _write(f"progress {done}/{count} images\n")
    if sys.stderr.isatty():
        return lambda done, count: _write(f"\r\x1b[K{done}/{count} images" if done < count else "\r\x1b[K")
    return None


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet-2pc-prepare`."""
    return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
