"""`rrnet-2pc-prepare`: correlated randomness for two parties, by a dealer or by themselves, each used once."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rrnet_nni.base.console import Parser, add_common_options, print_json, run_command
from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.progress import Line, TimeLeft, time_left

from ...program.build import Build, load_build
from ...protocols import executions, get_execution
from ...protocols.party import Execution
from ...protocols.shared.preparation import set_bits
from ..material.dealer import prepare_set
from ..material.effort import expected_effort
from ..material.party_set import DEALER, PREPROCESSINGS, TWO_PARTY
from ..session.accounting import peak_memory_mb
from ..session.two_party_prepare import Preparer, check_party_place, check_preparation, images_per_walk
from .children import tidy_end
from .local_prepare import prepare_locally, prepared_table, stored_bytes
from .party_options import (
    add_party_options,
    certificate_pair,
    check_address,
    check_one_or_both,
    count,
    material_root,
    open_link,
    party_progress,
)

EXAMPLES = """\
examples:
  rrnet-2pc-prepare build/ --count 100                 material for 100 images, in build.material
  rrnet-2pc-prepare build/ --count 100 -o /media/key   the same, elsewhere; then move party-0 to the client and
                                                       party-1 to the server
  rrnet-2pc-prepare build/ --count 4 --preprocessing two-party     without a dealer, both parties on this machine
  rrnet-2pc-prepare build/ --count 4 --preprocessing two-party --party 1 --listen 127.0.0.1:7700     the server alone

The dealer sees neither images nor weights nor messages. Both parties trust it to follow the protocol and to collude
with neither: its seeds and one party's messages together reveal everything. With `two-party` there is nobody to trust:
the parties make the same material by oblivious transfer and homomorphic encryption, which takes longer.
"""


def parser() -> Parser:
    """The command line."""
    result = Parser(prog="rrnet-2pc-prepare", description=__doc__, epilog=EXAMPLES)
    result.add_argument("build", type=Path, help="build directory of rrnet-2pc-compile")
    result.add_argument("--count", type=count, required=True, metavar="N", help="images to prepare for")
    result.add_argument("-o", "--output", dest="material", type=Path, metavar="DIR", help="default: BUILD.material")
    result.add_argument("--protocol", help=f"{', '.join(executions())} (default: the one of the build)")
    result.add_argument(
        "--preprocessing", choices=PREPROCESSINGS, default=DEALER, help="who makes the material (default: dealer)"
    )
    result.add_argument("--replace", action="store_true", help="discard unused material that is there")
    add_party_options(result)
    add_common_options(result)
    return result


def run(options: argparse.Namespace) -> int:
    """Prepare and report."""
    check_one_or_both(options)
    if options.party is not None and options.preprocessing != TWO_PARTY:
        raise Refusal("a dealer prepares for both parties: --party belongs to --preprocessing two-party")
    build = load_build(options.build, weights=False)
    execution = get_execution(options.protocol or build.protocol_name)
    if options.preprocessing == TWO_PARTY:
        check_preparation(execution, build.program, options.count)
        prepare = _prepare_together if options.party is None else _prepare_as_party
        text = prepared_table
    else:
        prepare, text = _prepare_as_dealer, _dealt_table
    answer = {"protocol": execution.name, "preprocessing": options.preprocessing, "count": options.count}
    with tidy_end(options.ends_with_parent):
        answer |= prepare(options, build, execution)
    if options.json:
        print_json(answer)
    elif not options.progress_lines:
        sys.stdout.write(text(answer))
    return 0


def _prepare_as_dealer(options: argparse.Namespace, build: Build, execution: Execution) -> dict[str, Any]:
    root = material_root(options)
    seconds = prepare_set(
        root, build.program, build.program_digest, execution, options.count, options.replace, _progress(options)
    )
    return {"material": str(root), "offline_s": seconds, "stored_bytes": stored_bytes(root)}


def _dealt_table(answer: dict[str, Any]) -> str:
    sizes = answer["stored_bytes"]
    return (
        f"material for {answer['count']} images in {answer['material']} ({answer['offline_s']:.2f} s; {sizes[0]:,} "
        f"bytes for party 0, {sizes[1]:,} for party 1), made by this process as the trusted dealer\n"
    )


def _prepare_together(options: argparse.Namespace, build: Build, execution: Execution) -> dict[str, Any]:
    root = material_root(options)
    answer = prepare_locally(options.build, options.count, execution.name, root, options.replace, options.timeout)
    return answer | {"stored_bytes": stored_bytes(root)}


def _prepare_as_party(options: argparse.Namespace, build: Build, execution: Execution) -> dict[str, Any]:
    """One party's side of `two-party`, against the other one."""
    check_address(options)
    number, root = options.party, material_root(options)
    check_party_place(root, number, options.replace)
    with open_link(options) as link:
        walks = -(-options.count // images_per_walk(execution, build.program, options.count))
        left = TimeLeft(expected_effort(execution.name, build.program), walks)
        progress = party_progress(options, build.program, build.program.operations[-1].name, left)
        preparer = Preparer(number, build.program, build.program_digest, execution, link, progress)
        try:
            prepared = preparer.run(root, options.count, certificate_pair(options))
        except (Refusal, ExecutionFault) as error:
            link.abort(str(error))
            raise
    return {
        "material": str(root),
        "party": number,
        "offline_s": prepared.description.dealt_s,
        "bytes_sent": list(prepared.bytes_sent),
        "predicted_bytes": list(prepared.predicted_bytes),
        "stored_bytes": stored_bytes(root),
        **dict(zip(("statistical_bits", "set_statistical_bits"), set_bits(build.program, options.count), strict=True)),
        "memory_mb": {str(number): peak_memory_mb()},
        "operations": prepared.operations(number),
    }


def _progress(options: argparse.Namespace) -> Callable[[int, int], None]:
    """Says how many images have their material: to the parent process, or on a terminal."""
    started, line = time.perf_counter(), Line()

    def report(done: int, count: int) -> None:
        text = f"{done}/{count} images{time_left(time.perf_counter() - started, done / count)}"
        if options.progress_lines:
            sys.stderr.write(f"progress {text}\n")
            sys.stderr.flush()
        elif done < count:
            line.show("the dealer", text)
        else:
            line.clear()

    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rrnet-2pc-prepare`."""
    return run_command(parser(), run, arguments, lambda: {"protocol": executions()})


if __name__ == "__main__":
    sys.exit(main())
