"""Options of one party's command lines: which party it is, how it reaches the other one, where its material lies."""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rrnet_nni.base.console import Parser
from rrnet_nni.base.errors import Refusal

from ...program import Program
from ..link.addresses import connect, is_loopback, parse_address
from ..link.link import DEFAULT_TIMEOUT_S, Link
from ..link.listener import accept_one
from ..link.tls import load_identity, secure
from ..session.agreement import ROLES
from ..session.output_policy import check_policy

#: A line is rewritten no more often: writing it takes as long as many an operation.
LINE_S = 0.05


def add_party_options(parser: Parser) -> None:
    """Add the options that say which party runs and how it reaches the other one."""
    parser.add_argument("--party", type=int, choices=(0, 1), help="run this party alone, against another machine")
    address = parser.add_mutually_exclusive_group()
    address.add_argument("--listen", metavar="ADDRESS", help="HOST:PORT on which to wait for the other party")
    address.add_argument("--connect", metavar="ADDRESS", help="HOST:PORT of the other party")
    address.add_argument("--link-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        "--tls", type=Path, metavar="DIR", help="key and certificates of this party (rrnet-2pc-certificates)"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help=f"end the run when the other party is silent for this many seconds (default {DEFAULT_TIMEOUT_S:g})",
    )
    parser.add_argument("--progress-lines", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ends-with-parent", action="store_true", help=argparse.SUPPRESS)


def seconds(text: str) -> float:
    """A positive number of seconds, as the type of an option."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def count(text: str) -> int:
    """A whole number from 1 to a million, as the type of an option."""
    if not text.isdecimal() or not 0 < int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")
    return int(text)


def reveal_policy(text: str) -> str:
    """How much of the logits is revealed, as the type of an option."""
    try:
        return check_policy(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def check_one_or_both(options: argparse.Namespace) -> None:
    """Refuse an address, or keys, without a party."""
    if options.party is None and (options.listen or options.connect or options.tls):
        raise Refusal("--listen, --connect and --tls belong to one party: --party 0 or --party 1")


def check_address(options: argparse.Namespace) -> None:
    """Refuse a missing address, one on another machine without TLS, and TLS without its files."""
    if options.link_fd is not None:
        return
    if (options.listen or options.connect) is None:
        raise Refusal("a single party needs --listen ADDRESS or --connect ADDRESS")
    check_encrypted(options.listen or options.connect, options.tls, server_side=options.listen is not None)


def check_encrypted(
    address: str, tls: Path | None, *, server_side: bool, several: bool = False, named: str = "--tls"
) -> None:
    """Refuse an address on another machine without TLS, and TLS without its files; `named` is the option for them."""
    host, _ = parse_address(address)
    if tls is None and not is_loopback(host):
        raise Refusal(f"{host} is another machine: {named} DIR is needed (rrnet-2pc-certificates makes a pair)")
    if tls is not None:
        load_identity(tls, server_side, several)


def open_socket(options: argparse.Namespace) -> socket.socket:
    """The connected socket to the other party."""
    if options.link_fd is not None:
        return socket.socket(fileno=options.link_fd)
    if options.listen is not None:
        return accept_one(options.listen, options.timeout, options.tls)
    connection = connect(options.connect, options.timeout)
    return connection if options.tls is None else secure(connection, options.tls, False, options.timeout)


def certificate_pair(options: argparse.Namespace) -> str | None:
    """Fingerprint of the two parties of an encrypted link, to which material is bound; None without one."""
    return None if options.tls is None else load_identity(options.tls, options.listen is not None).pair


def open_link(options: argparse.Namespace) -> Link:
    """The link to the other party, which hears nothing of where this one's files are."""
    named = (options.build, material_root(options), options.tls, getattr(options, "input", None))
    local_paths = tuple(Path(each) for each in named if each is not None)
    return Link(open_socket(options), f"the {ROLES[1 - options.party]}", options.timeout, local_paths)


def material_root(options: argparse.Namespace) -> Path:
    """Where the prepared material lies: `--material`, else beside the build."""
    if options.material is not None:
        return Path(options.material)
    build = Path(options.build)
    if build.name in ("", ".."):  # the working directory, or one above it
        build = build.resolve()
    return build.with_name(f"{build.resolve().name}.material")


def party_progress(
    options: argparse.Namespace, program: Program, last: str, left: Callable[[str], str] | None = None
) -> Callable[[str, str], None] | None:
    """Where the party stands, on standard error: a line that rewrites itself, or lines for the parent process.

    The line is wiped when the step called `last` starts. `left` hears of every step and adds to its line. Of steps that
    follow each other faster than `LINE_S` only some are told.
    """
    if not options.progress_lines and not sys.stderr.isatty():
        return None
    places = {operation.name: index + 1 for index, operation in enumerate(program.operations)}
    total, told = len(places), 0.0

    def report(phase: str, operation: str) -> None:
        nonlocal told
        rest, now = left(operation) if left else "", time.perf_counter()
        if now < told + LINE_S and operation != last:
            return
        told = now
        text = f"{phase} {places.get(operation, 0)}/{total} {operation}{rest}"
        if options.progress_lines:
            sys.stderr.write(f"progress {text}\n")
        else:
            sys.stderr.write("\r\x1b[K" if operation == last else f"\r\x1b[K{text}")
        sys.stderr.flush()

    return report
