"""Where answers go: folders and files that can be written, and files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .fpga.errors import Refusal


def output_folder(path: Path) -> Path:
    """Make the folder that a command writes into.

    Raises:
        Refusal: a file is in the way, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise Refusal(f"{path} is a file, not a folder") from None
    except OSError as error:
        raise Refusal(f"{path}: cannot make this folder ({error.strerror})") from None
    return path


def output_file(path: Path) -> Path:
    """Make the folder of a file that a command writes.

    Raises:
        Refusal: a folder has the file's name, or its own folder cannot be made.
    """
    if path.is_dir():
        raise Refusal(f"{path} is a folder: name the file to write")
    output_folder(path.parent)
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a temporary file and a rename; creates the parent directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
