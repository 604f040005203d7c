"""What a test's own child processes need."""

from __future__ import annotations

import os
from pathlib import Path


def environment_of(test_file: str, **more: str) -> dict[str, str]:
    """The environment in which a child process imports the test module at `test_file`, and the helpers."""
    folders = Path(test_file).parent, Path(__file__).parents[1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), **more}
