"""Tutorials and how-tos: their blocks run in order, and what a page shows is what they print and draw."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.documentation.scripts import load_script

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "walk.py"
walk = load_script(SCRIPT)
PAGES = [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in walk.walks()]
QUICK = [param for param in PAGES if not walk.read_walk(param.values[0]).slow]

SAMPLE = """\
<!-- walk -->
# A page
<!-- small: 30 => 3 -->
```bash
echo "epoch 30 of the network, 1.5 s"
```

```text
epoch 30 of the network, 0.9 s
```

```python
value = 40 + 2
value
```

```text
42
```

```yaml title="server/list.yml"
name: a
```

```bash title="server"
(until [ -e ../client/mine.yml ]; do sleep 0.05; done; cat list.yml) > late.txt &
```

```bash title="client"
scp server:list.yml mine.yml
cat mine.yml
echo server:7700
```

```text
name: a
127.0.0.1:7700
```

```bash title="server"
wait
cat late.txt
```

```text
name: a
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(SAMPLE)
    return path


def taken(path: Path, folder: Path, small: bool = False) -> list[str]:
    read = walk.read_walk(path)
    folder.mkdir(parents=True, exist_ok=True)
    printed, drawn = walk.take(read, folder, small)
    for block, picture in drawn.items():
        assert (path.parent / str(block.picture)).is_file(), f"{block.picture}: python docs/walk.py {path} draws it"
        assert picture.stat().st_size > 0
    found: list[str] = walk.differences(read, printed, small)
    return found


def test_files_cells_and_terminals_of_two_hosts_run_in_order(page: Path, tmp_path: Path) -> None:
    assert taken(page, tmp_path / "a") == []
    assert taken(page, tmp_path / "b", small=True) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epoch 30 of the network, 0.9", "epoch 31 of the network, 0.9"),
        ("\n42\n", "\n43\n"),
        ("name: a\n```\n", "b\n```\n"),
    ],
)
def test_an_output_that_is_not_what_was_printed_is_found(page: Path, tmp_path: Path, old: str, new: str) -> None:
    head, _, tail = SAMPLE.rpartition(old)
    page.write_text(head + new + tail)
    assert len(taken(page, tmp_path / "a")) == 1


def test_in_the_small_form_figures_may_differ_and_words_may_not(page: Path, tmp_path: Path) -> None:
    page.write_text(SAMPLE.replace("\n42\n", "\n43\n"))
    assert taken(page, tmp_path / "a", small=True) == []
    page.write_text(SAMPLE.replace("of the network, 0.9 s", "of the net, 0.9 s"))
    assert len(taken(page, tmp_path / "b", small=True)) == 1


@pytest.mark.parametrize("broken", ["cat nothing.yml", "1 / 0"])
def test_a_block_that_fails_ends_the_walk_with_its_line(page: Path, tmp_path: Path, broken: str) -> None:
    page.write_text(SAMPLE.replace("cat mine.yml" if "cat" in broken else "40 + 2", broken))
    line = SAMPLE.splitlines().index('```bash title="client"' if "cat" in broken else "```python") + 1
    with pytest.raises(walk.WalkFault, match=rf"page.md, line {line}: (.|\n)*(No such file|ZeroDivisionError)"):
        taken(page, tmp_path / "a")


def test_writing_puts_what_was_printed_into_the_page(page: Path, tmp_path: Path) -> None:
    page.write_text(SAMPLE.replace("\n42\n", "\n\n"))
    subprocess.run([sys.executable, str(SCRIPT), str(page)], check=True, timeout=60)
    assert page.read_text() == SAMPLE.replace("0.9 s", "1.5 s")


def test_a_block_that_runs_elsewhere_names_a_test_that_is_there() -> None:
    named = [block.elsewhere for param in PAGES for block in walk.read_walk(param.values[0]).blocks if block.elsewhere]
    assert [place for place in named if not (ROOT / place).is_file()] == []


@pytest.mark.parametrize("path", PAGES)
def test_every_output_and_picture_of_a_walk_belongs_to_a_block(path: Path) -> None:
    read = walk.read_walk(path)
    text = path.read_text(encoding="utf-8")
    assert text.count("\n```text\n") == sum(block.output is not None for block in read.blocks)
    pictures = re.findall(r"^!\[[^\]]*\]\(([^)]+\.png)\)", text, flags=re.MULTILINE)
    assert pictures == [block.picture for block in read.blocks if block.picture]
    assert [name for name in pictures if not (path.parent / name).is_file()] == []


@pytest.mark.parametrize("path", QUICK)
def test_a_walk_in_its_small_form_prints_and_draws_what_it_shows(path: Path, tmp_path: Path) -> None:
    assert taken(path, tmp_path / "walk", small=True) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", PAGES)
def test_a_walk_prints_and_draws_what_it_shows(path: Path, tmp_path: Path) -> None:
    assert taken(path, tmp_path / "walk") == []


@pytest.mark.parametrize("path", PAGES)
def test_a_walks_code_fits_the_page(path: Path) -> None:
    lines = [line for block in walk.read_walk(path).blocks for line in block.code.splitlines()]
    assert [line for line in lines if len(line) > 90] == []
