"""Both parties and the dealer on one machine, each a process of its own.

The parent holds no share: it starts the processes, hands each its end of a socket, shows how far they are and passes on
the answer of the party that learns the logits.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path
from typing import Any

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.progress import Line

from ...native.threads import available_cores
from ...program import Program
from ...program.build import load_build
from ...protocols import get_execution
from ...protocols.party import Execution
from ..material.party_set import TWO_PARTY, party_directory, read_description, unused_count
from ..material.scratch import temporary_directory
from ..session.inputs import load_build_images
from ..session.output_policy import dropped_bits
from ..session.two_party_prepare import check_preparation
from .answer import recognized
from .children import start_child, supervise
from .local_prepare import prepare_locally
from .party_options import material_root


def run_local(options: argparse.Namespace) -> dict[str, Any]:
    """Prepare material if none is there, run both parties, and return the answer of the one that learns the logits."""
    if options.input is None:
        raise Refusal("name the client's images with --input FILE")
    build = load_build(options.build)
    dropped_bits(options.reveal or build.program.reveals, build.program)  # refuses before anything is made
    execution = get_execution(options.protocol or build.protocol_name)
    loaded = load_build_images(options.input, build, execution.opens_narrow, options.units)
    if loaded.warning is not None:
        sys.stderr.write(f"rrnet-2pc-run: {loaded.warning}\n")
    images = len(loaded.words)
    root = material_root(options)
    if options.material is not None or _suffices(root, images, build.program_digest, options, execution):
        answer = _run_parties(options, root, execution.name) | {"preprocessing_source": "prepared before"}
        return answer | recognized(answer["logits"], build.images, loaded, answer["reveal"])
    with temporary_directory() as scratch:
        material = scratch / "material"
        _prepare(options, material, images, execution, build.program)
        answer = _run_parties(options, material, execution.name) | {"preprocessing_source": "made for this run"}
        return answer | recognized(answer["logits"], build.images, loaded, answer["reveal"])


def _suffices(root: Path, images: int, program_digest: str, options: argparse.Namespace, execution: Execution) -> bool:
    """Whether material for this very program lies there, enough of it."""
    parts = [party_directory(root, party) for party in (0, 1)]
    if min(unused_count(part) for part in parts) < images:
        return False
    described = read_description(parts[0])
    wanted = options.preprocessing or described.preprocessing
    found = described.program_digest, described.protocol, described.preprocessing
    return found == (program_digest, execution.name, wanted)


def _prepare(options: argparse.Namespace, material: Path, images: int, execution: Execution, program: Program) -> None:
    """Make material for this run as `--preprocessing` says."""
    by_parties = options.preprocessing == TWO_PARTY
    if by_parties:
        check_preparation(execution, program, images)
    if not options.json:
        who = "the two parties make it now" if by_parties else "a dealer process makes it now"
        sys.stderr.write(f"no prepared material for {images} images: {who}\n")
    if by_parties:
        prepare_locally(options.build, images, execution.name, material, False, options.timeout)
    else:
        _run_dealer(options, material, images, execution.name)


def _run_dealer(options: argparse.Namespace, material: Path, images: int, protocol: str) -> None:
    display = Line()
    arguments = [str(options.build), "--count", str(images), "-o", str(material), "--protocol", protocol]
    child = start_child("the dealer", "prepare", [*arguments, "--progress-lines"], display)
    supervise([child], display)


def _run_parties(options: argparse.Namespace, material: Path, protocol: str) -> dict[str, Any]:
    display = Line()
    ends = socket.socketpair()
    children = []
    for number, end in enumerate(ends):
        arguments = [
            *(str(options.build), "--party", str(number), "--link-fd", str(end.fileno())),
            *("--material", str(material), "--protocol", protocol, "--reveal-to", str(options.reveal_to)),
            *("--timeout", str(options.timeout), "--pace", options.pace, "--json"),
        ]
        arguments += ["--input", str(options.input), "--progress-lines"] if number == 0 else []
        arguments += ["--units", options.units] if number == 0 and options.units else []
        arguments += ["--batch", str(options.batch)] if options.batch else []
        arguments += ["--strands", str(options.strands), "--link", options.link]
        arguments += ["--threads", str(options.threads or available_cores(sharers=2))]
        arguments += ["--reveal", options.reveal] if options.reveal else []
        arguments += ["--preprocessing", options.preprocessing] if options.preprocessing else []
        children.append(start_child(f"party {number}", "run", arguments, display, (end.fileno(),)))
    for end in ends:
        end.close()
    supervise(children, display)
    answers = [json.loads(bytes(child.output)) for child in children]
    answer: dict[str, Any] = answers[options.reveal_to]
    answer["memory_mb"] = answers[0]["memory_mb"] | answers[1]["memory_mb"]
    return answer
