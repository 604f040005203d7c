"""Is what trials are made of installed, in versions that work together, and does it start?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rrnet_nni.fpga.native.library import CompilationUnavailable, build_library, load_library

from .finding import Finding

DISTRIBUTION = "rrnet-nni"
SEARCH = "pip install 'rrnet-nni[search]'"
#: Seconds that torch may take to be imported on a busy machine.
PATIENCE_S = 120.0
_TORCH = """
from rrnet_nni.base.compatibility import prepare_libraries
prepare_libraries()
import json, torch, torchvision
print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.is_available() and torch.cuda.device_count()]))
"""
_KERNEL = "int doubled(int x) { return 2 * x; }\n"


def python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Is Python what the package asks for?"""
    here = ".".join(map(str, version))
    wanted = SpecifierSet(metadata.metadata(DISTRIBUTION)["Requires-Python"] or "")
    if here in wanted:
        return Finding("python", f"{here} in {sys.executable}")
    return Finding("python", f"{here} is not {wanted}", f"make the environment with a Python {wanted}")


def packages() -> Iterator[Finding]:
    """Is every package that a search needs installed, in a version that works?"""
    wanted = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": "search"})]
    faults = [fault for requirement in wanted if (fault := _package(requirement))]
    yield from faults or [Finding("packages", f"all {len(wanted)} are there in versions that work together")]


def _package(requirement: Requirement) -> Finding | None:
    subject = f"package {requirement.name}"
    wanted = f"{requirement.name}{requirement.specifier}"
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Finding(subject, "it is not installed", f"pip install '{wanted}', or all of it: {SEARCH}")
    if found in requirement.specifier:
        return None
    return Finding(subject, f"{found} does not work here, {requirement.specifier} does", f"pip install '{wanted}'")


def torch() -> Finding:
    """Does torch start, and which devices does it see? Asked in a process of its own: torch takes seconds."""
    command = [sys.executable, "-c", _TORCH]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return Finding("torch", f"it does not start within {PATIENCE_S:.0f} s", "look at the load and the disk")
    if ended.returncode != 0:
        said = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        mend = f"install a torch and a torchvision that belong together: {SEARCH}"
        return Finding("torch", f"it does not start: {said}", mend)
    version, cuda, devices = json.loads(ended.stdout.splitlines()[-1])
    return Finding("torch", f"{version}, {devices or 'no'} GPU{'' if devices == 1 else 's'} (built for CUDA {cuda})")


def compiler(scratch: Path) -> Finding:
    """Does a C compiler make a library that loads? NumPy does the kernels' work without, but much slower."""
    source = scratch / "doubled.c"
    source.write_text(_KERNEL)
    mend = "install gcc or clang, or name a compiler with CC"
    try:
        load_library(build_library(source), {})
    except CompilationUnavailable as error:
        return Finding("compiler", str(error), mend)
    return Finding("compiler", "it makes kernels for this processor")


def manager() -> Finding:
    """Do NNI's own Node and its command line start?"""
    package = util.find_spec("nni_node")
    if package is None or package.origin is None:
        return Finding("NNI", "its manager (nni_node) is not installed", f"{SEARCH}; or use `rrnet search --many`")
    node = Path(package.origin).with_name("node.exe" if sys.platform == "win32" else "node")
    try:
        started = subprocess.run([str(node), "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        words = error.strerror if isinstance(error, OSError) else "it does not answer"
        return Finding("NNI", f"its Node does not start ({words})", _REINSTALL)
    if started.returncode != 0:
        said = (started.stderr.strip().splitlines() or [f"status {started.returncode}"])[-1]
        return Finding("NNI", f"its Node does not start ({said})", _REINSTALL)
    if util.find_spec("pkg_resources") is None:
        return Finding("NNI", "nnictl needs pkg_resources, which setuptools 82 left out", "pip install 'setuptools<82'")
    return Finding("NNI", f"its manager runs on Node {started.stdout.strip()}")


_REINSTALL = "pip install --force-reinstall nni==3.0, or use `rrnet search --many`, which needs no manager"


def commands() -> Finding:
    """Is `rrnet` where the trials' command looks for it?"""
    folders = [str(Path(sys.executable).parent), *os.environ.get("PATH", "").split(os.pathsep)]
    for folder in folders:
        if (Path(folder) / "rrnet").is_file():
            return Finding("commands", f"rrnet is in {folder}")
    mend = "install the package into this environment: pip install 'rrnet-nni[search]'"
    return Finding("commands", f"there is no rrnet beside {sys.executable}", mend)
