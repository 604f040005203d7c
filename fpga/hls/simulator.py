"""The accelerator's C++ sources as a program of this machine: compiled at first use, kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..devices import Device
from ..errors import Refusal
from .config import config_header

SOURCES = Path(__file__).parent
_WARNINGS = ("-Wall", "-Wextra", "-Wno-unknown-pragmas")
_OPTIMIZED = ("-O3", "-march=native")
_SANITIZED = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
#: Source files of each program, as patterns.
PROGRAMS = {
    "csim": ("src/*.cpp", "testbench/main.cpp", "testbench/pipes.cpp"),
    "mutate": ("src/*.cpp", "testbench/mutate.cpp"),
    "vectors": ("src/aes.cpp", "src/dcf.cpp", "testbench/vectors.cpp"),
}


def find_cxx() -> str | None:
    """The C++ compiler: $CXX, else g++, else clang++; None where there is none."""
    return next(
        (path for name in (os.environ.get("CXX"), "g++", "clang++") if name and (path := shutil.which(name))), None
    )


def build_simulator(device: Device, program: str = "csim", sanitize: bool = False) -> Path:
    """Compile one of `PROGRAMS` for a device; returns the executable.

    Args:
        device: its parallelism and buffer become constants of the accelerator.
        program: "csim" runs one party, "mutate" feeds it damaged files, "vectors" prints what kernels compute.
        sanitize: with address and undefined-behaviour sanitizers.

    Raises:
        Refusal: there is no C++ compiler, or it does not accept the sources.
    """
    compiler = find_cxx()
    if compiler is None:
        raise Refusal("the accelerator's C simulation needs a C++ compiler (g++ or clang++) on the path")
    options = [*_WARNINGS, *(_SANITIZED if sanitize else _OPTIMIZED), "-std=c++17"]
    header = config_header(device)
    sources = sorted(path for pattern in PROGRAMS[program] for path in SOURCES.glob(pattern))
    headers = [*sorted(SOURCES.glob("*.h")), *sorted(SOURCES.glob("src/*.h")), *sorted(SOURCES.glob("testbench/*.h"))]
    key = hashlib.sha256()
    for part in (compiler, *options, _version(compiler), header, *(path.read_text() for path in (*sources, *headers))):
        key.update(part.encode() + b"\0")
    target = _cache_directory() / f"{program}-{key.hexdigest()[:24]}"
    if not target.exists():
        _compile(compiler, options, sources, header, target)
    return target


def _compile(compiler: str, options: list[str], sources: list[Path], header: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        (Path(scratch) / "rrnet_config.h").write_text(header)
        includes = [f"-I{path}" for path in (scratch, SOURCES, SOURCES / "src", SOURCES / "testbench")]
        built = Path(scratch) / target.name
        command = [compiler, *options, *includes, *map(str, sources), "-o", str(built)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            first = next((line for line in finished.stderr.splitlines() if "error" in line), finished.stderr[:200])
            raise Refusal(f"{compiler} does not compile the accelerator: {first}")
        built.replace(target)


def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout


def _cache_directory() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "rrnet-nni" / "accelerator"
