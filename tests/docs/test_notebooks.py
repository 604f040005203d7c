"""A walk as a notebook: valid, with the page's cells in their order and the outputs that the page shows."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from helpers.documentation.scripts import load_script

DOCS = Path(__file__).parents[2] / "docs"
notebooks = load_script(DOCS / "notebooks.py")
walk = load_script(DOCS / "walk.py")
pages = load_script(DOCS / "pages.py")


@pytest.mark.parametrize("page", pages.NOTEBOOKS.values())
def test_a_notebook_has_the_pages_cells_outputs_and_pictures(page: str) -> None:
    read = walk.read_walk(DOCS / page)
    made = nbformat.reads(notebooks.notebook_of(DOCS / page), as_version=4)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert len(code) == len(read.blocks)
    for cell, block in zip(code, read.blocks, strict=True):
        assert cell.source.endswith(block.code)
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        assert printed.strip() == read.shown(block).strip()
        assert any("image/png" in output.get("data", {}) for output in cell.outputs) == bool(block.picture)


@pytest.mark.parametrize("page", pages.NOTEBOOKS.values())
def test_the_words_between_cells_are_the_pages_and_lead_to_no_file_that_is_not_there(page: str) -> None:
    made = nbformat.reads(notebooks.notebook_of(DOCS / page), as_version=4)
    words = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert "```" not in words
    assert "<!--" not in words
    assert "](../" not in words
    assert words.startswith("# ")


def test_files_and_shell_blocks_are_cells_that_jupyter_understands(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '<!-- walk -->\n# A\n\n```yaml title="a.yml"\nb: 1\n```\n\n```bash\nls\n```\n\n```text\na.yml\n```\n\nEnd.\n'
    )
    made = nbformat.reads(notebooks.notebook_of(page), as_version=4)
    assert [cell.source for cell in made.cells] == ["# A", "%%writefile a.yml\nb: 1", "%%bash\nls", "End."]
    assert made.cells[2].outputs[0].text == "a.yml\n"
