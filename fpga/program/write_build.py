"""Write a build directory: whole or not at all, and the same bytes for the same input."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.errors import ExecutionFault, Refusal

from . import Program, program_to_dict
from .build import BUILD_FORMAT, BUILD_SCHEMA, CLIENT, MANIFEST, PROGRAM, REPORT, WEIGHTS, is_build
from .public_numbers import CLIENT_FILES, client_report, public_numbers


def write_build(
    path: Path | str,
    program: Program,
    weights: Mapping[str, np.ndarray],
    report: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a build directory atomically: the server's, and in `client` the part that the client gets.

    The folder is its owner's alone, what is secret in it too; nothing in `client` tells a secret, not even by a hash.

    Args:
        path: the directory; an existing build or empty directory is replaced, anything else is refused.
        program: goes to program.json.
        weights: int32 words by constant name; go to weights.bin at the offsets that `program.constants` says.
        report: goes to report.json; should have `device` and `protocol`.
        files: more files by name (instructions.bin, trace.json, report.html).

    Raises:
        Refusal: `path` exists and is not a build.
        ExecutionFault: the directory cannot be written.
    """
    path = Path(path)
    check_output(path)
    contents: dict[str, bytes | memoryview] = {
        PROGRAM: json_bytes(program_to_dict(program)),
        WEIGHTS: join_weights(program, weights),
        REPORT: json_bytes({**report, "public_numbers": public_numbers(program, report)}),
        **(files or {}),
    }
    client = {name: data for name, data in contents.items() if name in CLIENT_FILES}
    client[REPORT] = json_bytes(client_report(program, report))
    for part in (contents, client):
        part[MANIFEST] = _manifest(part)
    try:
        _write_atomically(path, contents, client)
    except OSError as error:
        raise ExecutionFault(f"the build {path} cannot be written: {error.strerror or error}") from error
    return path


def check_output(path: Path) -> None:
    """Refuse to write over anything that is not a build, and where nothing can be written."""
    try:
        _check_place(path)
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}") from error


def _check_place(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise Refusal(f"{path} exists and is not a directory")
    if path.is_dir() and any(path.iterdir()) and not is_build(path):
        raise Refusal(f"{path} exists and is not a build; name another directory with -o")
    if strangers := _strangers(path):
        raise Refusal(
            f"{path} holds {', '.join(strangers[:5])}, which a new build would delete: move that, or name another "
            "directory with -o"
        )
    if Path.cwd().is_relative_to(path.resolve()):
        raise Refusal(f"{path} is the working directory, which a new build would delete; name another with -o")
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise Refusal(f"{path} cannot be written: {place} is not a directory, or not yours to write to")


def _strangers(path: Path) -> list[str]:
    """What lies in a build's directory and is not the build's."""
    found: list[str] = []
    for part in (path, path / CLIENT):
        if is_build(part):
            own = {MANIFEST, CLIENT, *json.loads((part / MANIFEST).read_bytes()).get("files", ())}
            found += [str(entry.relative_to(path)) for entry in part.iterdir() if entry.name not in own]
    return sorted(found)


def json_bytes(document: Any) -> bytes:
    """Readable, deterministic JSON; refuses NaN."""
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def join_weights(program: Program, weights: Mapping[str, np.ndarray]) -> memoryview:
    """weights.bin, the largest file: every constant little-endian at its offset."""
    size = max((entry.offset + 4 * int(np.prod(entry.shape)) for entry in program.constants.values()), default=0)
    data = np.zeros(size // 4, dtype="<i4")
    for constant in program.constants.values():
        words = np.ascontiguousarray(weights[constant.name])
        if words.dtype.itemsize != 4 or words.shape != constant.shape:
            raise ValueError(f"constant {constant.name!r} is {words.dtype} {words.shape}, not 32-bit {constant.shape}")
        start = constant.offset // 4
        data[start : start + words.size] = words.view("<i4").reshape(-1)
    return data.view(np.uint8).data


def _manifest(contents: Mapping[str, bytes | memoryview]) -> bytes:
    files = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(contents.items())
    }
    return json_bytes({"format": BUILD_FORMAT, "schema": BUILD_SCHEMA, "files": files})


def _write_atomically(
    path: Path, contents: Mapping[str, bytes | memoryview], client: Mapping[str, bytes | memoryview]
) -> None:
    """Into a hidden sibling first; one rename makes it visible, one more takes the old build away."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    try:
        new, old = scratch / "new", scratch / "old"
        for part, held, mode in ((new, contents, 0o600), (new / CLIENT, client, 0o644)):
            part.mkdir(mode=0o700)
            for name, data in held.items():
                (part / name).write_bytes(data)
                (part / name).chmod(mode)
        if path.exists():
            os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
