"""Every public function and class has its entry in the reference of Python."""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from helpers.documentation.scripts import load_script

ROOT = Path(__file__).parents[2]
ROOMS = ("search_spaces", "strategies", "evaluators", "fpga")


def modules() -> Iterator[tuple[str, Path]]:
    """Every public module by the name under which it is installed."""
    for room in ("rrnet_nni", *ROOMS):
        inside = room if room == "rrnet_nni" else f"rrnet_nni.{room}"
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT / room).with_suffix("").parts
            if not any(part.startswith("_") for part in parts):
                yield ".".join((inside, *parts)), path


def public(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The script that makes the reference, over an installed layout of links to the sources."""
    layout = tmp_path_factory.mktemp("installed") / "rrnet_nni"
    layout.mkdir()
    for path in (ROOT / "rrnet_nni").iterdir():
        (layout / path.name).symlink_to(path)
    for room in ROOMS:
        (layout / room).symlink_to(ROOT / room)
    script = load_script(ROOT / "docs" / "pages.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "INSTALLED", layout)
        yield script


def test_the_page_of_a_package_shows_each_of_its_public_modules(pages: ModuleType) -> None:
    shown = {
        name for package in pages.packages() for name in re.findall(r"^::: (\S+)", pages.package_page(package), re.M)
    }
    missing = {name for name, path in modules() if public(path)} - shown
    assert not missing


def test_a_module_shows_what_is_public_with_or_without_a_docstring() -> None:
    (plugin,) = [entry for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["plugins"] if entry != "search"]
    options = plugin["mkdocstrings"]["handlers"]["python"]["options"]
    assert (options["show_if_no_docstring"], options["filters"]) == (True, ["!^_"])


@pytest.mark.slow
def test_every_public_function_and_class_has_its_entry_in_the_built_site(built_site: Path) -> None:
    inventory = (built_site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    entries = {line.split(" ", 1)[0] for line in zlib.decompress(inventory).decode().splitlines()}
    wanted = {f"{module}.{name}" for module, path in modules() for name in public(path)}
    assert len(wanted) > 1000
    assert not wanted - entries
