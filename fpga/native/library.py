"""C sources to loaded libraries: compiled at first use for the CPU that runs them, kept in the user's cache.

A library lies there under a name that holds its sources, the compiler, its options and the CPU's abilities, so that
another machine that shares the home directory never loads it. The libraries that were not used for longest are deleted.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.caches import cache_folder, prune

#: Of a compiler, for kernels of whole numbers.
OPTIONS = ("-O3", "-march=native", "-funroll-loops", "-fPIC", "-shared")
#: For kernels whose float64 arithmetic must round as it is written.
EXACT_OPTIONS = ("-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared")
_COMPILERS = ("cc", "gcc", "clang", "c++", "g++")
_INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"', re.MULTILINE)
#: Libraries of one source that are kept: one per compiler, option and version that is in use beside each other.
_KEPT = 4

Signatures = Mapping[str, tuple[Any, list[Any]]]


class CompilationUnavailable(Exception):
    """No compiler, or it does not make a library that loads: another backend has to do the work."""


def load_library(path: Path, signatures: Signatures) -> ctypes.CDLL:
    """A compiled library with its functions' result and argument types; raises `CompilationUnavailable`."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise CompilationUnavailable(f"{path} does not load: {error}") from error
    declare(library, signatures)
    return library


def declare(library: ctypes.CDLL, signatures: Signatures) -> None:
    """Say what functions of a library take and return."""
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


def build_library(source: Path, options: tuple[str, ...] = OPTIONS) -> Path:
    """Compile `source` into the user's cache unless it is there; returns the library's path.

    It may include headers by quoted paths that are relative to the including file.

    Raises:
        CompilationUnavailable: there is no compiler, it fails, or the cache cannot be written.
    """
    compiler = _find_compiler()
    key = hashlib.sha256()
    texts = [path.read_text() for path in _with_headers(source)]
    for part in (*texts, " ".join(options), _version(compiler), platform.machine(), _cpu_abilities()):
        key.update(part.encode() + b"\0")
    target = cache_folder("kernels") / f"{source.stem}-{key.hexdigest()[:24]}.so"
    with contextlib.suppress(OSError):  # it is not there, or another process is just pruning it
        os.utime(target)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            built = Path(scratch) / target.name
            command = [compiler, *options, "-x", "c", str(source), "-o", str(built)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
            built.replace(target)
        prune(target.parent, f"{source.stem}-*.so", _KEPT)
    except (OSError, subprocess.SubprocessError) as error:
        raise CompilationUnavailable(f"{compiler} cannot compile {source.name}: {error}") from error
    return target


def address(array: np.ndarray) -> int:
    """Where a contiguous array lies; its owner keeps it alive while that is used.

    Raises:
        ValueError: it is not contiguous.
    """
    try:
        # several times as fast as what NumPy offers
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # of an array that nobody may write, or an empty one
        if not array.flags.c_contiguous:
            raise ValueError("a kernel needs a contiguous array") from None
        place: int = array.__array_interface__["data"][0]
        return place


def _with_headers(source: Path) -> Iterator[Path]:
    """A source and the headers that it includes by quoted paths, each once."""
    waiting, seen = [source], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        waiting += [(path.parent / name).resolve() for name in _INCLUDE.findall(path.read_text())]


def _find_compiler() -> str:
    for candidate in (os.environ.get("CC"), *_COMPILERS):
        found = shutil.which(candidate) if candidate else None
        if found:
            return found
    raise CompilationUnavailable("no C compiler (cc, gcc, clang) is on the path")


def _version(compiler: str) -> str:
    try:
        return subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise CompilationUnavailable(f"{compiler} does not run: {error}") from error


def _cpu_abilities() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
