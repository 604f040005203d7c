"""Where answers go: folders and files that can be written, and files that are either whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import Refusal


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


@contextlib.contextmanager
def whole_file(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Where to write what `path` shall hold: a file beside it, which takes its place when the block ends.

    Makes the folder. A block that raises leaves `path` as it was; once the block has ended, a crash undoes nothing.

    Args:
        path: the file that is either whole or not there.
        mode: who may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(mode)
        _to_disk(unfinished)
        unfinished.replace(path)
        _to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write `content` to `path` as `whole_file` does."""
    with whole_file(path, mode) as unfinished:
        unfinished.write_bytes(content)


def write_whole_json(path: Path, document: Any) -> None:
    """Write `document` as readable JSON as `whole_file` does."""
    write_whole(path, json.dumps(document, indent=1).encode() + b"\n")


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
