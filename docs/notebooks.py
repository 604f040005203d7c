"""A walk as a notebook: its words, its cells, and what they printed and drew, as the page shows them."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
if str(DOCS) not in sys.path:
    sys.path.insert(0, str(DOCS))

from walk import Block, Walk, read_walk  # noqa: E402

#: Lines of a page that are no words of it.
_MARK = re.compile(r"^<!-- .* -->$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)[^)]+\)")


def notebook_of(path: Path) -> str:
    """The page at `path` as a notebook (.ipynb, format 4.5); same page and pictures, same bytes."""
    import nbformat

    made = nbformat.v4.new_notebook(cells=_cells(read_walk(path)))
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"
    nbformat.validate(made)
    written: str = nbformat.writes(made)
    return written + "\n"


def _cells(walk: Walk) -> list[object]:
    import nbformat

    cells: list[object] = []
    at = 0
    for number, block in enumerate(walk.blocks, start=1):
        words = _words(walk.lines[at : block.line - 1])
        if words:
            cells.append(nbformat.v4.new_markdown_cell(words))
        cells.append(nbformat.v4.new_code_cell(_code(block), execution_count=number, outputs=_outputs(walk, block)))
        at = block.end
    words = _words(walk.lines[at:])
    return [*cells, *([nbformat.v4.new_markdown_cell(words)] if words else [])]


def _words(lines: tuple[str, ...]) -> str:
    """Words of the page; links to other pages of the site lose their targets, which a notebook does not have."""
    return _LINK.sub(r"\1", _MARK.sub("", "\n".join(lines))).strip()


def _code(block: Block) -> str:
    if block.is_file:
        return f"%%writefile {block.title}\n{block.code}"
    return f"%%bash\n{block.code}" if block.language == "bash" else block.code


def _outputs(walk: Walk, block: Block) -> list[object]:
    import nbformat

    outputs: list[object] = []
    if walk.shown(block):
        outputs.append(nbformat.v4.new_output("stream", name="stdout", text=walk.shown(block) + "\n"))
    if block.picture:
        picture = base64.b64encode((walk.path.parent / block.picture).read_bytes()).decode()
        outputs.append(nbformat.v4.new_output("display_data", data={"image/png": picture}))
    return outputs
