"""Processes that a command starts and watches: what they say, how far they are, and the end of all when one fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO

from rrnet_nni.base.console import BAD_USAGE
from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.base.progress import Line

#: How long survivors may take to notice that another process is gone, before they are ended.
GRACE_S = 10.0
#: Lines that are kept of what a process said: its sentence, and with `--debug` the traceback before it.
KEPT_LINES = 200


class ChildTraceback(Exception):
    """What a failed process said on standard error: the cause of a failure, shown with `--debug`."""


@dataclass
class Child:
    """A started process, what it says on standard output and its last lines on standard error."""

    name: str
    process: subprocess.Popen[bytes]
    progress: Line
    output: bytearray = field(default_factory=bytearray)
    said: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
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
                self.said.append(text)

    def finish(self) -> None:
        for thread in self.threads:
            thread.join(timeout=5)

    def end(self) -> None:
        """Kill the process if it is still there, and let go of all that belongs to it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.finish()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    @property
    def sentence(self) -> str:
        """What the process said before it failed, or what ended it."""
        status = self.process.returncode
        if status is not None and status < 0:
            return f"{self.name} was ended by {signal.Signals(-status).name}"
        last_words = self.said[-1] if self.said else ""
        _, _, reason = last_words.partition(": ")
        return f"{self.name}: {reason or last_words or f'ended with status {status}'}"


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the process was started without a pipe")
    return stream


def start_child(
    name: str, module: str, arguments: Sequence[str], display: Line, descriptors: Sequence[int] = ()
) -> Child:
    """Run a module of this package as a process that inherits the given descriptors and does not outlive this one."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    process = subprocess.Popen(
        # -P: a user's inspect.py in the working directory is not Python's
        [sys.executable, "-P", "-m", f"{__package__}.{module}", *arguments, "--ends-with-parent", "--debug"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=tuple(descriptors),
        env=environment,
    )
    child = Child(name, process, display)
    child.start_reading()
    return child


@contextlib.contextmanager
def tidy_end(of_a_child: bool) -> Iterator[None]:
    """Take the signals that ask a process to end as Ctrl-C, so that what was begun is tidied up.

    The process of `start_child` also takes the death of the one that started it, which closes its standard input.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    heard = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}  # as nohup does
    for number in heard:
        signal.signal(number, interrupt)
    if of_a_child:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def supervise(children: list[Child], display: Line) -> None:
    """Wait for all; when one fails the others get a moment to say so, then are ended.

    Raises:
        Refusal: a process refused its input; its sentence.
        ExecutionFault: a process failed; the sentences of all that did.
    """
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
        raise Refusal(refused[0].sentence.partition(": ")[2]) from _tracebacks(refused)
    raise ExecutionFault("; ".join(child.sentence for child in failed)) from _tracebacks(failed)


def _tracebacks(failed: Sequence[Child]) -> ChildTraceback:
    return ChildTraceback("\n".join(f"\n{child.name} said:\n" + "\n".join(child.said) for child in failed))
