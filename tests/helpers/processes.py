"""What a test's own child processes need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Libraries whose import takes seconds.
HEAVY = ("torch", "torchvision", "nni", "pytorch_lightning", "onnx", "onnxruntime", "sklearn")


def environment_of(test_file: str, **more: str) -> dict[str, str]:
    """The environment in which a child process imports the test module at `test_file`, and the helpers."""
    folders = Path(test_file).parent, Path(__file__).parents[1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), **more}


@dataclass(frozen=True)
class Ended:
    """How a command line ended: its status, its words on standard error, and what it imported of `HEAVY`."""

    status: int
    said: str
    heavy: list[str]


def rrnet_in_a_new_process(arguments: Sequence[str], folder: Path) -> Ended:
    """Run `rrnet` in a process of its own."""
    script = (
        "import sys; from rrnet_nni.cli import main\n"
        "try: status = main(sys.argv[1:])\n"
        "except SystemExit as ended: status = ended.code or 0\n"
        f"print(status, *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    status, *heavy = ran.stdout.splitlines()[-1].split()
    return Ended(int(status), ran.stderr, heavy)
