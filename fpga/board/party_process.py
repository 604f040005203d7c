"""One party as a process of its own: what `rrnet-2pc-run --party` does, on this machine or across two."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..compiler.build import Build, load_build
from ..devices.load import load_device
from ..errors import ExecutionFault, Refusal
from .addresses import accept_one, connect, is_loopback, parse_address
from .answer import default_batch, describe_run
from .executions import get_execution
from .inputs import load_images
from .link import Link
from .pacing import DEVICE_CLOCK, Pace
from .session import ROLES, Party, Terms
from .store import MaterialStore
from .tls import secure


def run_party(options: argparse.Namespace) -> dict[str, Any]:
    """Run one party's side of a session and return its answer."""
    number = options.party
    _check_address(options)
    build = load_build(options.build, weights=number == 1)
    if number == 0 and options.input is None:
        raise Refusal("party 0 owns the images: --input FILE")
    if number == 1 and options.input is not None:
        raise Refusal("party 1 does not see the images: --input belongs to party 0")
    execution = get_execution(options.protocol or build.protocol_name)
    images = load_images(options.input, build.program) if number == 0 else None
    batch = options.batch or default_batch(execution, build.program)
    terms = Terms(
        build.program_digest, execution.name, options.reveal_to, None if images is None else len(images), batch
    )
    with MaterialStore(material_root(options), number) as store:
        store.check_program(terms.program_digest, terms.protocol)
        with Link(_open_socket(options), f"the {ROLES[1 - number]}", options.timeout) as link:
            pace = _pace(options, build, execution.name)
            party = Party(number, build.program, execution, link, store, _progress(options, build), pace)
            try:
                result = party.run(terms, images, build.weights if number == 1 else None)
            except (Refusal, ExecutionFault) as error:
                link.abort(str(error))
                raise
        answer = describe_run(number, build.program, execution, terms, result, store.description)
        if pace is not None:
            answer |= {"clock": pace.clock, "modelled_s": pace.modelled_s, "late_s": pace.late_s}
        return answer


def _pace(options: argparse.Namespace, build: Build, protocol: str) -> Pace | None:
    return Pace(build.program, load_device(build.device_name), protocol) if options.pace == DEVICE_CLOCK else None


def material_root(options: argparse.Namespace) -> Path:
    """Where the prepared material lies: `--material`, else beside the build."""
    if options.material is not None:
        return Path(options.material)
    build = Path(options.build)
    return build.with_name(f"{build.resolve().name}.material")


def _check_address(options: argparse.Namespace) -> None:
    """Refuse a missing address, and one on another machine without TLS."""
    if options.link_fd is not None:
        return
    address = options.listen or options.connect
    if address is None:
        raise Refusal("a single party needs --listen ADDRESS or --connect ADDRESS")
    host, _ = parse_address(address)
    if options.tls is None and not is_loopback(host):
        raise Refusal(f"{host} is another machine: --tls DIR is needed (rrnet-2pc-certificates makes a pair)")


def _open_socket(options: argparse.Namespace) -> socket.socket:
    if options.link_fd is not None:
        return socket.socket(fileno=options.link_fd)
    listens = options.listen is not None
    connection = accept_one(options.listen, options.timeout) if listens else connect(options.connect, options.timeout)
    if options.tls is None:
        return connection
    return secure(connection, options.tls, listens, options.timeout)


def _progress(options: argparse.Namespace, build: Build) -> Callable[[str, str], None] | None:
    """Where the party stands, on standard error: a line that rewrites itself, or lines for the parent process."""
    if not options.progress_lines and not sys.stderr.isatty():
        return None
    places = {operation.name: index + 1 for index, operation in enumerate(build.program.operations)}
    total = len(places)

    def report(phase: str, operation: str) -> None:
        text = f"{phase} {places.get(operation, 0)}/{total} {operation}"
        if options.progress_lines:
            sys.stderr.write(f"progress {text}\n")
        else:
            sys.stderr.write(f"\r\x1b[K{text}" if phase != "online" or operation != "open logits" else "\r\x1b[K")
        sys.stderr.flush()

    return report
