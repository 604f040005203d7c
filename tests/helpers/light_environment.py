"""An environment in which only what `pip install rrnet-nni` brings along can be imported."""

from __future__ import annotations

import os
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from .documentation.documented_commands import ROOT

#: Python runs a module of this name at every start.
SITECUSTOMIZE = """
import sys

class Blocked:
    NAMES = frozenset({names!r})

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.split(".")[0] in cls.NAMES:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

sys.meta_path.insert(0, Blocked)
"""


def light_requirements() -> list[str]:
    """The dependencies of the package without extras, as pyproject.toml states them."""
    requirements: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return requirements


def light_distributions() -> set[str]:
    """What these bring along here, each other's dependencies included."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in light_requirements()]
    while waiting:
        requirement = waiting.pop()
        if _plain(requirement.name) in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(_plain(requirement.name))
        waiting += [Requirement(text) for text in metadata.requires(requirement.name) or []]
    return found


def blocked_modules() -> set[str]:
    """Top-level modules of everything else that is installed here."""
    kept = {*light_distributions(), "rrnet-nni"}
    modules = metadata.packages_distributions()
    return {module for module, owners in modules.items() if kept.isdisjoint(map(_plain, owners))}


def light_environment(folder: Path) -> dict[str, str]:
    """The environment of processes that find nothing else, as if it had never been installed; their children too."""
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(names=sorted(blocked_modules())))
    return {**os.environ, "PYTHONPATH": str(folder)}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
