"""The tables of the documentation are what the code says today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.documentation.scripts import load_script

from rrnet_nni.base.errors import Refusal

SCRIPT = Path(__file__).parents[2] / "docs" / "tables.py"
tables = load_script(SCRIPT)


def test_no_page_shows_another_table_than_its_source() -> None:
    checked = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_every_table_is_on_a_page() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in tables.DOCS.rglob("*.md"))
    assert all(f"<!-- table {name} -->" in pages for name in tables.TABLES)


def test_a_wrong_figure_is_put_right_and_an_unknown_table_refused() -> None:
    page = (tables.DOCS / "results" / "replacing-relu.md").read_text(encoding="utf-8")
    assert tables.page_with_tables(page.replace("| `masked` |", "| `masked` | 99 |"), "page") == page
    with pytest.raises(Refusal, match="page: there is no table 'nonsense'"):
        tables.page_with_tables("<!-- table nonsense -->\n<!-- end -->", "page")
