"""The accelerator's C++ sources as a program of this machine: compiled at first use, kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rrnet_nni.base.caches import cache_folder
from rrnet_nni.base.errors import ExecutionFault, Refusal

from ..devices import Device
from .config import config_header

SOURCES = Path(__file__).parent
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Wno-unknown-pragmas")
_OPTIMIZED = ("-O3", "-march=native")
_SANITIZED = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
#: What the accelerator's exit statuses mean (fpga/hls/src/status.h).
STATUSES = {
    1: "instructions.bin is not what it expects",
    2: "operands.bin is not what it expects",
    3: "instructions.bin and operands.bin belong to different programs",
    4: "a tile does not fit its place on the chip",
    5: "an address lies outside of the memory",
    6: "an address lies outside of the dealer's corrections",
    7: "a message has another size than the schedule says",
    8: "an instruction comes before one that it needs",
    9: "the instructions wait for each other",
    10: "the other party is gone",
    11: "the operation or protocol is not one of this accelerator",
}
PEER_GONE = 10
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


def check_ended(party: int, status: int, errors: str) -> None:
    """Raise an `ExecutionFault` that says why a party's accelerator stopped; nothing where it is done (status 0)."""
    if status:
        problem = STATUSES.get(status) or f"exit status {status} {errors.strip()[-300:]}".strip()
        raise ExecutionFault(f"the accelerator of party {party} stopped: {problem}")


def build_simulator(device: Device, program: str = "csim", sanitize: bool = False, types: Path | None = None) -> Path:
    """Compile one of `PROGRAMS` for a device; returns the executable.

    Args:
        device: its parallelism and buffer become constants of the accelerator.
        program: "csim" runs one party, "mutate" feeds it damaged files, "vectors" prints what kernels compute.
        sanitize: with address and undefined-behaviour sanitizers.
        types: the vendor's directory of ap_int.h and hls_stream.h, in place of the shim in testbench/.

    Raises:
        Refusal: there is no C++ compiler, it does not accept the sources, or the cache cannot be written.
    """
    compiler = find_cxx()
    if compiler is None:
        raise Refusal("the accelerator's C simulation needs a C++ compiler (g++ or clang++) on the path")
    options = [*WARNINGS, *(_SANITIZED if sanitize else _OPTIMIZED), "-std=c++17"]
    header = config_header(device)
    sources = sorted(path for pattern in PROGRAMS[program] for path in SOURCES.glob(pattern))
    headers = [*sorted(SOURCES.glob("*.h")), *sorted(SOURCES.glob("src/*.h")), *sorted(SOURCES.glob("testbench/*.h"))]
    key = hashlib.sha256()
    parts = (compiler, *options, str(types), _version(compiler), header)
    for part in (*parts, *(path.read_text() for path in (*sources, *headers))):
        key.update(part.encode() + b"\0")
    target = cache_folder("accelerator") / f"{program}-{key.hexdigest()[:24]}"
    if not target.exists():
        _compile([compiler, *options, *_include_paths(types)], sources, header, target)
    return target


def _include_paths(types: Path | None) -> list[str]:
    if types is not None and not (types / "ap_int.h").is_file():
        raise Refusal(f"{types} holds no ap_int.h")
    return [f"-I{path}" for path in (*([types] if types else []), SOURCES, SOURCES / "src", SOURCES / "testbench")]


def _compile(command: list[str], sources: list[Path], header: str, target: Path) -> None:
    make_cache(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        (Path(scratch) / "rrnet_config.h").write_text(header)
        built = Path(scratch) / target.name
        finished = subprocess.run(
            [*command, f"-I{scratch}", *map(str, sources), "-o", str(built)],
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode:
            first = next((line for line in finished.stderr.splitlines() if "error" in line), finished.stderr[:200])
            problem = first or f"it ends with status {finished.returncode}"
            raise Refusal(f"{command[0]} does not compile the accelerator: {problem}")
        built.replace(target)


def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout


def make_cache(directory: Path) -> None:
    """Raises `Refusal` where the directory for compiled programs cannot be made."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = error.strerror or error
        raise Refusal(f"{directory} cannot keep compiled programs: {problem}; set XDG_CACHE_HOME") from error
