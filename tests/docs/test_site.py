"""The site: its reference is made from the code, its links lead somewhere, and it builds without a warning."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import unquote

import pytest
import yaml
from helpers.documentation.scripts import load_script

from rrnet_nni.cli import VERBS
from rrnet_nni.fpga.devices import device_names
from rrnet_nni.fpga.protocols import protocol_names

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return load_script(DOCS / "pages.py")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", head).strip().lower() for head in heads]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head)) for head in plain}


def test_the_reference_has_the_help_of_every_command_and_verb(pages: ModuleType) -> None:
    text = pages.commands_page()
    for script in pages.scripts():
        assert f"## {script}\n\n```text\nusage: {script}" in text
    for verb in VERBS:
        assert f"### rrnet {verb}\n\n```text\nusage: rrnet {verb}" in text


def test_the_reference_names_every_device_and_protocol(pages: ModuleType) -> None:
    text = pages.devices_page()
    assert all(f"| `{name}` |" in text for name in (*device_names(), *protocol_names()))


def test_every_page_of_the_menu_is_there_and_every_page_is_in_the_menu(pages: ModuleType) -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = {page for entry in menu for value in entry.values() for page in _leaves(value)}
    assert named == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | set(pages.PAGES)


def _leaves(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    assert isinstance(value, list)
    return [leaf for entry in value for inner in entry.values() for leaf in _leaves(inner)]


@pytest.mark.parametrize(
    "page", [*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md"))], ids=str
)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_are_there(page: Path, pages: ModuleType) -> None:
    text = page.read_text(encoding="utf-8")
    for link in _LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, heading = unquote(link).partition("#")
        path = page.parent / target if target else page
        made = any(path.resolve() == DOCS / name for name in (*pages.PAGES, *pages.NOTEBOOKS))
        assert made or path.exists(), f"{page.name}: {link}"
        if heading and path.suffix == ".md" and not made:
            assert heading in anchors(path.read_text(encoding="utf-8")), f"{page.name}: {link}"


def test_a_results_page_names_the_commit_of_its_data(pages: ModuleType) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="results/protocols.md"))
    shown = pages.on_page_markdown("[two_party.json](two_party.json)", page=page)
    commit = pages.commit_of(DOCS / "results" / "two_party.json")
    assert (
        shown == f"[two_party.json](two_party.json) (commit `{commit}`)"
        if commit
        else "[two_party.json](two_party.json)"
    )


def test_links_to_what_is_no_page_of_the_site_become_words_and_others_stay(pages: ModuleType) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="explanation/trust.md"))
    written = "[a](../results/protocols.md) [b](../../examples/digits.yml) [c](../../SECURITY.md#reporting)"
    shown = pages.on_page_markdown(written, page=page)
    assert shown == "[a](../results/protocols.md) b [c](../security.md#reporting)"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(built_site: Path) -> None:
    assert (built_site / "reference" / "api" / "rrnet_nni.fpga.protocols.html").exists()
