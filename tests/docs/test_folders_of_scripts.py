"""benchmarks/README.md and examples/README.md name every script and example, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\|(.*)\|$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#]+)\)")


def linked(readme: Path) -> set[Path]:
    """The files to which rows of its tables link."""
    rows = "\n".join(_ROW.findall(readme.read_text(encoding="utf-8")))
    return {(readme.parent / target).resolve() for target in _LINK.findall(rows)}


def scripts() -> set[Path]:
    return {path for path in (ROOT / "benchmarks").rglob("*.py") if path.name != "__init__.py"}


def test_every_benchmark_has_its_row() -> None:
    assert scripts() - linked(ROOT / "benchmarks" / "README.md") == set()


def test_every_example_has_its_row() -> None:
    examples = {*(ROOT / "examples").rglob("*.yml"), ROOT / "rrnet.yml"}
    assert examples - linked(ROOT / "examples" / "README.md") == set()


@pytest.mark.parametrize("folder", ["benchmarks", "examples"])
def test_every_row_names_what_is_there(folder: str) -> None:
    assert [path for path in linked(ROOT / folder / "README.md") if not path.exists()] == []


def test_every_measured_result_has_the_script_that_makes_it() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:docs/results/)?([\w*]+\.json)`", text)
    patterns = [re.compile(name.replace(".", r"\.").replace("*", r"\w*")) for name in named]
    results = [path.name for path in (ROOT / "docs" / "results").glob("*.json")]
    assert [name for name in results if not any(pattern.fullmatch(name) for pattern in patterns)] == []


def test_every_script_says_by_itself_what_it_does() -> None:
    assert [path for path in scripts() if not path.read_text(encoding="utf-8").startswith('"""')] == []


def test_every_script_that_is_run_writes_its_command_down() -> None:
    tables = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").split("## Parts of scripts")[0]
    run = [path for path in scripts() if path.name in tables]
    assert len(run) > 20
    assert [path.name for path in run if path.name not in path.read_text(encoding="utf-8").split('"""')[1]] == []
