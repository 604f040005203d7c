"""The reference pages of the site, made when it is built: commands from their parsers, Python from its docstrings,
devices from their files. A hook of MkDocs (mkdocs.yml).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pkgutil
import posixpath
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from unittest.mock import patch

from rrnet_nni.cli import VERBS
from rrnet_nni.fpga.cost.budget import chip_use
from rrnet_nni.fpga.devices import device_names, load_device
from rrnet_nni.fpga.protocols import executions, get_costs, preparations, protocol_names

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
#: The installed layout, in which all rooms lie inside the package (`make docs` makes it).
INSTALLED = ROOT / ".lint" / "rrnet_nni"
#: Width of a terminal for which help texts are wrapped.
COLUMNS = "100"


def scripts() -> dict[str, str]:
    """Name -> module:function of every command."""
    found: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    return found


def help_of(target: str, *words: str) -> str:
    """What a command prints for `--help`."""
    module, function = target.split(":")
    said = io.StringIO()
    environment = patch.dict(os.environ, {"COLUMNS": COLUMNS, "NO_COLOR": "1"})
    with environment, contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        getattr(importlib.import_module(module), function)([*words, "--help"])
    return said.getvalue().rstrip()


def commands_page() -> str:
    parts = [
        "# Commands",
        "Each page of `--help`. The exit status is 0 when done, 1 when something failed while running, 2 for bad usage "
        "or bad input; `--json` prints the answer for programs.",
    ]
    for name, target in scripts().items():
        parts += [f"## {name}", f"```text\n{help_of(target)}\n```"]
        if name == "rrnet":
            for verb in VERBS:
                parts += [f"### {name} {verb}", f"```text\n{help_of(target, verb)}\n```"]
    return "\n\n".join(parts) + "\n"


def packages() -> Iterator[str]:
    """Every package of the project, by its imported name."""
    yield "rrnet_nni"
    for found in pkgutil.walk_packages([str(INSTALLED)], "rrnet_nni.", onerror=lambda _: None):
        if found.ispkg and ".examples" not in found.name:
            yield found.name


def modules_of(package: str) -> list[str]:
    folder = INSTALLED.joinpath(*package.split(".")[1:])
    return [f"{package}.{path.stem}" for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")]


def package_page(package: str) -> str:
    """The package's own words, then the public functions and classes of its modules."""
    entries = [f"::: {package}\n    options:\n      members: []\n      heading_level: 1"]
    return "\n\n".join([*entries, *(f"::: {module}" for module in modules_of(package))]) + "\n"


def python_page() -> str:
    lines = [
        "# Python",
        "",
        "`import rrnet_nni as rrnet` offers `search`, `train`, `compile`, `run` and `latency` "
        "([`rrnet_nni.door`](api/rrnet_nni.md)); `rrnet_nni.fpga.two_party` is the door to the two parties.",
        "",
        *(f"- [`{package}`](api/{package}.md)" for package in packages()),
    ]
    return "\n".join(lines) + "\n"


def devices_page() -> str:
    rows = ["| device | clock | link | DSP blocks used | |", "| --- | --- | --- | --- | --- |"]
    for device in map(load_device, device_names()):
        used = chip_use(device)
        link = f"{device.bandwidth_bytes_per_s / 1e6:g} MB/s, {1e6 * device.message_latency_s:g} µs"
        share = f"{used.dsp_share:.0%}"
        rows.append(f"| `{device.name}` | {device.clock_hz / 1e6:g} MHz | {link} | {share} | {device.description} |")
    protocols = ["| protocol | executed | without a dealer | |", "| --- | --- | --- | --- |"]
    for name in protocol_names():
        summary = (type(get_costs(name)).__doc__ or "").strip().splitlines()
        marks = ["yes" if name in group else "" for group in (executions(), preparations())]
        protocols.append(f"| `{name}` | {marks[0]} | {marks[1]} | {summary[0] if summary else ''} |")
    return "\n".join(
        [
            "# Devices and protocols",
            "",
            "`rrnet devices NAME` prints every constant of a device and how it is known.",
            "",
            *rows,
            "",
            "What a protocol costs: [operators under each protocol](protocol-costs.md); what it is: "
            "[protocols](../explanation/protocols.md).",
            "",
            *protocols,
            "",
        ]
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/python.md": python_page,
    "reference/devices.md": devices_page,
    "security.md": lambda: (ROOT / "SECURITY.md").read_text(encoding="utf-8").replace("](docs/", "]("),
}

#: Notebooks, and the walks of which they are made.
NOTEBOOKS: Mapping[str, str] = {"tutorials/search.ipynb": "tutorials/search.md"}


def notebook(walk: Path) -> str:
    if str(DOCS) not in sys.path:
        sys.path.insert(0, str(DOCS))
    from notebooks import notebook_of

    made: str = notebook_of(walk)
    return made


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links to files of the repository: to a page where the site has it as one, else their words alone."""
    folder = PurePosixPath(page.file.src_uri).parent
    up = "../" * len(folder.parts)

    def shown(link: re.Match[str]) -> str:
        outside = posixpath.normpath(folder / link[2]).startswith("..")
        return link[1] if outside else link[0]

    def with_commit(link: re.Match[str]) -> str:
        commit = commit_of(DOCS / folder / link[1])
        return f"{link[0]} (commit `{commit}`)" if commit else link[0]

    here = markdown.replace(f"](../{up}SECURITY.md", f"]({up}security.md")
    here = re.sub(r"\[([^\]]+)\]\((\.\./[^)#]*)[^)]*\)", shown, here)
    return re.sub(r"\[[^\]]+\]\(([^)#:]+\.json)\)", with_commit, here)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Say of which commit the site is: tables that follow from code, and images, are of this one."""
    commit = commit_of(ROOT)
    config.copyright = f"Built from commit {commit}." if commit else None
    return config


@cache
def commit_of(path: Path) -> str:
    """The commit that last changed a file or folder; empty outside of a clone."""
    command = ["git", "log", "-1", "--format=%h", "--", str(path)]
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return ran.stdout.strip()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    from mkdocs.structure.files import File, InclusionLevel

    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    for name, walk in NOTEBOOKS.items():
        files.append(File.generated(config, name, content=notebook(DOCS / walk)))
    for package in packages():
        made = File.generated(
            config, f"reference/api/{package}.md", content=package_page(package), inclusion=InclusionLevel.NOT_IN_NAV
        )
        files.append(made)
    return files
