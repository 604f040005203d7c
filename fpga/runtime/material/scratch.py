"""Directories in which secrets are made before they are in place: gone when the process that made them is.

A process that is killed cannot tidy up. Its directories are no longer locked then, and the next one that makes a
directory of the kind removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rrnet_nni.base.errors import ExecutionFault


@contextlib.contextmanager
def scratch_directory(root: Path) -> Iterator[Path]:
    """A directory beside `root` to write a set in; it is gone afterwards unless it was renamed.

    Raises:
        ExecutionFault: the disk is full or not writable.
    """
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with _locked_directory(root.parent, f".{root.name}.partial-") as scratch:
            yield scratch
    except OSError as error:
        raise ExecutionFault(f"the material cannot be written to {root}: {error.strerror or error}") from error


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory where the system keeps its temporary ones, for material of a single run.

    Raises:
        ExecutionFault: the disk is full or not writable.
    """
    parent = Path(tempfile.gettempdir())
    try:
        with _locked_directory(parent, f"rrnet-2pc-{os.getuid()}-") as scratch:
            yield scratch
    except OSError as error:
        raise ExecutionFault(f"{parent} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _locked_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A fresh directory that is locked while this process lives; those of dead processes go first."""
    _sweep(parent, prefix)
    unnamed = Path(tempfile.mkdtemp(prefix=".rrnet-2pc-new-", dir=parent))
    path = parent / f"{prefix}{unnamed.name.rpartition('-')[2]}"
    lock = os.open(unnamed, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unnamed.rename(path)  # under a name that is swept only now that it is locked
        yield path
    finally:
        for each in (unnamed, path):
            shutil.rmtree(each, ignore_errors=True)
        os.close(lock)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what killed processes left; what is locked belongs to a living one."""
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
