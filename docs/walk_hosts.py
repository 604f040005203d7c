"""Where the blocks of a walk run: terminals that stay open, and a process whose variables stay."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

#: Seconds after which a block is given up.
PATIENCE_S = 1500
#: What a reader's shell does with `set -e`, and `scp HOST:PATH ...` between folders of this machine.
_BEGINNING = """set -e
scp() { local words=() word; for word; do
  case $word in [a-z]*:*) words+=("../${word%%:*}/${word#*:}");; *) words+=("$word");; esac; done
  cp "${words[@]}"; }
"""
#: Runs cells as a notebook does: the last expression's value is shown, and the open figure goes into the picture.
_KERNEL = """
import ast, contextlib, io, json, sys, traceback
space = {"__name__": "__main__"}
answers = sys.stdout
for line in sys.stdin:
    cell = json.loads(line)
    said, failed = io.StringIO(), None
    with contextlib.redirect_stdout(said):
        try:
            tree = ast.parse(cell["code"])
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "cell", "exec"), space)
            value = None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), space)
            drawn = "matplotlib.pyplot" in sys.modules and sys.modules["matplotlib.pyplot"].get_fignums()
            if value is not None and not drawn:
                print(value)
            if drawn:
                if cell["picture"]:
                    sys.modules["matplotlib.pyplot"].savefig(cell["picture"], dpi=110)
                sys.modules["matplotlib.pyplot"].close("all")
        except BaseException:
            failed = traceback.format_exc()
    print(json.dumps({"said": said.getvalue(), "failed": failed}), file=answers, flush=True)
"""


class WalkFault(Exception):
    """A block did not do what its page says."""


def _environment() -> dict[str, str]:
    scripts = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "PYTHONWARNINGS": "ignore",
    }


def free_ports(wanted: Collection[str]) -> dict[str, int]:
    """A free port of the loopback in the place of each."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in wanted]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return {port: probe.getsockname()[1] for port, probe in zip(sorted(wanted), probes, strict=True)}


class _Host:
    """A process that reads blocks and answers; it and what it started end together."""

    def __init__(self, command: list[str], folder: Path, merge: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge else None,
            start_new_session=True,
        )
        self._left = b""

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `read_until` says that it ended
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()

    def read_until(self, mark: bytes) -> str:
        """What comes before `mark`.

        Raises:
            WalkFault: the process ended, or said nothing more for too long.
        """
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while mark not in self._left:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise WalkFault(f"no end after {PATIENCE_S} s; it printed:\n{self._left.decode()}")
                came = os.read(self.process.stdout.fileno(), 65536)
                if not came:
                    raise WalkFault(f"it failed and printed:\n{self._left.decode()}")
                self._left += came
        said, _, self._left = self._left.partition(mark)
        return said.decode()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Terminal(_Host):
    """A shell in a folder. A command that fails ends it, and the walk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(["bash", "--noprofile", "--norc"], folder, merge=True)
        self.write(_BEGINNING)

    def run(self, code: str) -> str:
        mark = f"--{secrets.token_hex(8)}--"
        self.write(f"{code}\nprintf '%s' {mark}\n")
        return tidy(self.read_until(mark.encode()))


class Cells(_Host):
    """A Python process in a folder that runs cells."""

    def __init__(self, folder: Path) -> None:
        super().__init__([sys.executable, "-c", _KERNEL], folder, merge=False)

    def run(self, code: str, picture: Path | None = None) -> str:
        self.write(json.dumps({"code": code, "picture": str(picture) if picture else None}) + "\n")
        answer = json.loads(self.read_until(b"\n"))
        if answer["failed"]:
            raise WalkFault(f"{answer['failed']}\n{answer['said']}")
        return tidy(answer["said"])


def tidy(said: str) -> str:
    """Printed lines without spaces at their ends and empty lines around."""
    return "\n".join(line.rstrip() for line in said.replace("\r", "\n").splitlines()).strip("\n")
