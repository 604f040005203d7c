"""Both parties and the dealer on one machine, each a process of its own.

The parent holds no share: it starts the processes, hands each its end of a socket, shows how far they are and passes on
the answer of the party that learns the logits.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..compiler.build import load_build
from ..console import BAD_USAGE
from ..errors import ExecutionFault, Refusal
from .executions import get_execution
from .inputs import load_images
from .party_process import material_root
from .store import party_directory, read_description, unused_count

#: How long survivors may take to notice that another process is gone, before they are ended.
GRACE_S = 10.0


def run_local(options: argparse.Namespace) -> dict[str, Any]:
    """Prepare material if none is there, run both parties, and return the answer of the one that learns the logits."""
    if options.input is None:
        raise Refusal("the client's images are missing: --input FILE")
    build = load_build(options.build)
    execution = get_execution(options.protocol or build.protocol_name)
    images = len(load_images(options.input, build.program))
    root = material_root(options)
    if options.material is not None or _suffices(root, images, build.program_digest, execution.name):
        return _run_parties(options, root, execution.name) | {"preprocessing_source": "prepared before"}
    scratch = Path(tempfile.mkdtemp(prefix="rrnet-2pc-"))
    try:
        material = scratch / "material"
        if not options.json:
            sys.stderr.write(f"no prepared material for {images} images: a dealer process makes it now\n")
        _run_dealer(options, material, images, execution.name)
        return _run_parties(options, material, execution.name) | {"preprocessing_source": "made for this run"}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _suffices(root: Path, images: int, program_digest: str, protocol: str) -> bool:
    """Whether material for this very program lies there, enough of it."""
    parts = [party_directory(root, party) for party in (0, 1)]
    if min(unused_count(part) for part in parts) < images:
        return False
    described = read_description(parts[0])
    return (described.program_digest, described.protocol) == (program_digest, protocol)


@dataclass
class _Child:
    """A started process, what it says on standard output and its last words on standard error."""

    name: str
    process: subprocess.Popen[bytes]
    progress: _Display
    output: bytearray = field(default_factory=bytearray)
    last_words: str = ""
    threads: list[threading.Thread] = field(default_factory=list)

    def start_reading(self) -> None:
        for reader in (self._read_output, self._read_errors):
            thread = threading.Thread(target=reader, daemon=True)
            thread.start()
            self.threads.append(thread)

    def _read_output(self) -> None:
        stream = _stream(self.process.stdout)
        while chunk := stream.read(1 << 16):
            self.output += chunk

    def _read_errors(self) -> None:
        for line in _stream(self.process.stderr):
            text = line.decode(errors="replace").rstrip()
            if text.startswith("progress "):
                self.progress.show(self.name, text.removeprefix("progress "))
            elif text:
                self.last_words = text

    def finish(self) -> None:
        for thread in self.threads:
            thread.join(timeout=5)

    @property
    def sentence(self) -> str:
        """What the process said before it failed, or what ended it."""
        status = self.process.returncode
        if status is not None and status < 0:
            return f"{self.name} was ended by {signal.Signals(-status).name}"
        _, _, said = self.last_words.partition(": ")
        return f"{self.name}: {said or self.last_words or f'ended with status {status}'}"


class _Display:
    """One line on the terminal that says where the run stands."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def show(self, name: str, text: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{name}: {text}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the process was started without a pipe")
    return stream


def _start(name: str, module: str, arguments: Sequence[str], display: _Display, descriptors: Sequence[int]) -> _Child:
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=tuple(descriptors),
        env=environment,
    )
    child = _Child(name, process, display)
    child.start_reading()
    return child


def _run_dealer(options: argparse.Namespace, material: Path, images: int, protocol: str) -> None:
    display = _Display()
    arguments = [str(options.build), "--count", str(images), "-o", str(material), "--protocol", protocol]
    child = _start("the dealer", f"{__package__}.prepare_cli", [*arguments, "--progress-lines"], display, ())
    _supervise([child], display)


def _run_parties(options: argparse.Namespace, material: Path, protocol: str) -> dict[str, Any]:
    display = _Display()
    ends = socket.socketpair()
    children = []
    for number, end in enumerate(ends):
        arguments = [
            *(str(options.build), "--party", str(number), "--link-fd", str(end.fileno())),
            *("--material", str(material), "--protocol", protocol, "--reveal-to", str(options.reveal_to)),
            *("--timeout", str(options.timeout), "--pace", options.pace, "--json"),
        ]
        arguments += ["--input", str(options.input), "--progress-lines"] if number == 0 else []
        arguments += ["--batch", str(options.batch)] if options.batch else []
        arguments += ["--debug"] if options.debug else []
        children.append(_start(f"party {number}", f"{__package__}.cli", arguments, display, (end.fileno(),)))
    for end in ends:
        end.close()
    _supervise(children, display)
    answers = [json.loads(bytes(child.output)) for child in children]
    answer: dict[str, Any] = answers[options.reveal_to]
    answer["memory_mb"] = answers[0]["memory_mb"] | answers[1]["memory_mb"]
    return answer


def _supervise(children: list[_Child], display: _Display) -> None:
    """Wait for all; when one fails the others get a moment to say so, then are ended."""
    try:
        deadline = None
        while any(child.process.poll() is None for child in children):
            if deadline is None and any(child.process.returncode for child in children):
                deadline = time.monotonic() + GRACE_S
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(0.01)
    finally:
        for child in children:
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()
            child.finish()
        display.clear()
    failed = [child for child in children if child.process.returncode]
    if not failed:
        return
    refused = [child for child in failed if child.process.returncode == BAD_USAGE]
    if refused:
        raise Refusal(refused[0].sentence.partition(": ")[2])
    raise ExecutionFault("; ".join(child.sentence for child in failed))
