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


def test_a_settled_network_stands_for_its_seed_and_is_no_second_one() -> None:
    accuracy_relus = load_script(SCRIPT.parent / "figures" / "accuracy_relus.py")
    run = {"backbone": "vgg16", "width": 0.25, "kind": "x2act", "seed": 0, "start": "t", "judged_on": "test images"}
    settled = {**run, "training": {"settling_epochs": 1}, "accuracy": 0.75}
    plain = {**run, "training": {}, "accuracy": 0.5}
    for runs in ((settled, plain), (plain, settled), (plain, settled, {**plain, "seed": 1, "accuracy": 0.25})):
        expected = [75.0] if len(runs) == 2 else [25.0, 75.0]
        assert sorted(accuracy_relus.groups(runs)["vgg16", 0.25, "x2act"]) == expected
