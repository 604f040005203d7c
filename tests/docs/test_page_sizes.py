"""Pages that a reader can take in: a README of three screens, pages of at most 1,500 words, results with sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WORDS = 1500
#: Pages in which one looks things up: they may be as long as their matter.
REFERENCE = [DOCS / "glossary.md", DOCS / "mutations.md", *(DOCS / "reference").glob("*.md")]
PAGES = [path for path in DOCS.rglob("*.md") if path not in REFERENCE]
RESULTS = sorted((DOCS / "results").glob("*.md"))


def words(text: str) -> int:
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def name(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_but_reference_is_longer_than_a_reader_takes_in_at_once(page: Path) -> None:
    assert words(page.read_text(encoding="utf-8")) <= WORDS


def test_the_readme_fits_on_three_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def parts(page: str) -> list[str]:
    """The page's beginning, then its sections with their subsections."""
    return re.split(r"^(?=## )", page, flags=re.MULTILINE)


@pytest.mark.parametrize("page", RESULTS, ids=name)
def test_every_table_and_figure_of_results_says_how_it_is_known_and_which_script_made_it(page: Path) -> None:
    first, *sections = parts(page.read_text(encoding="utf-8"))
    for section in [first, *sections]:
        if not re.search(r"^\| ---|^!\[", section, flags=re.MULTILINE):
            continue
        said = first + section
        assert re.search(r"measured|modelled|estimated|published", said, flags=re.IGNORECASE), section[:80]
        scripts = re.findall(r"(?:benchmarks|docs)/[\w/]+\.py", said)
        assert scripts, section[:80]
        assert all((ROOT / script).is_file() for script in scripts), scripts
