"""Two commits side by side for a benchmark: a worktree with an environment of its own, and this one."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Builds the plain-stem ResNet-18: python -c BUILD FOLDER_OF_ITS_SCRIPT FOLDER_OF_BUILDS.
BUILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from two_party_network import ResNet18
from rrnet_nni.fpga.program.write_build import write_build
for activation in ("relu", "x2act"):
    program, weights = ResNet18(activation).build()
    write_build(Path(sys.argv[2]) / activation, program, weights, {"device": "zcu104", "protocol": "beaver-ot"})
"""
HERE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Tree:
    """A commit with an environment of its own, and its builds."""

    root: Path
    python: str
    builds: Path

    def call(self, *arguments: object) -> str:
        # -P and the folder: the package of this commit's environment, not of the folder that the command runs in
        line = [self.python, "-P", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            line, check=True, stdout=subprocess.PIPE, cwd=self.builds, env=environment
        ).stdout.decode()

    def command(self, module: str, *arguments: object) -> str:
        return self.call("-m", f"rrnet_nni.fpga.runtime.commands.{module}", *arguments)

    def online(self, build: Path, images: Path, count: int, protocol: str) -> dict[str, Any]:
        """One run with fresh material."""
        material = self.builds / "material"
        try:
            self.command("prepare", build, "--count", count, "-o", material, "--protocol", protocol)
            answer = self.command(
                "run", build, "--input", images, "--material", material, "--protocol", protocol, "--json"
            )
        finally:
            shutil.rmtree(material, ignore_errors=True)
        found: dict[str, Any] = json.loads(answer)
        return found


@contextmanager
def two_trees(before: Path) -> Iterator[tuple[Tree, Tree]]:
    """The worktree of an earlier commit and this one, with folders for their builds."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("before", "after")]
        for folder in folders:
            folder.mkdir()
        root = before.resolve()
        earlier = Tree(root, str(root / ".venv" / "bin" / "python"), folders[0])
        yield earlier, Tree(HERE, sys.executable, folders[1])


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Options of a comparison with another commit."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--before", type=Path, required=True, metavar="DIR", help="worktree with an environment of its own"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write what was found to this JSON file")
    return parser
