"""Walks: pages whose blocks run in order, as a reader types them, and which show what that run said and drew.

A walk begins with `<!-- walk -->`.

    python docs/walk.py                                   all walks: outputs and pictures go into their pages
    python docs/walk.py docs/how-to/wan.md                one of them
    python docs/walk.py --check [--small] PAGE            writes nothing, ends with 1 where a page shows something else

A `bash` block is typed into a terminal; with a title it is that host's own terminal, in a folder of that name. A
`python` block is a cell, its variables stay. Every other block with a title is a file. Behind a block the next `text`
block is what it printed, and the next picture what it drew (or a file of that name that it wrote). Comments say the
rest:

    <!-- small: OLD => NEW -->       what `--small` puts in place of OLD, so that the page takes seconds
    <!-- varies -->                  the output behind it holds figures of a training or a clock: they are not compared
    <!-- elsewhere: tests/... -->    the block behind it is run by that test and not here
    <!-- given: model -->            what lies in the folder at the start (walk_given.py): model, or build
    <!-- needs: PROGRAM -->          the block behind it is left out where that program is not installed

Hosts are folders of this machine: `scp HOST:PATH` copies from that folder, and addresses are ports of the loopback.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
if str(DOCS) not in sys.path:
    sys.path.insert(0, str(DOCS))

from walk_given import give  # noqa: E402
from walk_hosts import Cells, Terminal, WalkFault, free_ports  # noqa: E402

#: Words of the comment with which a walk begins; `slow` is too long for every run of the tests.
MARKS = ("<!-- walk -->", "<!-- walk: slow -->")
_FENCE = re.compile(r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?$")
_COMMENT = re.compile(r"^<!-- (?P<word>small|varies|elsewhere|needs|given)(?:: (?P<rest>.*?))? -->$")
_PICTURE = re.compile(r"^!\[[^\]]*\]\((?P<target>[^)]+)\)")
_ADDRESS = re.compile(r"\b(?:[a-z][a-z0-9.-]*|0\.0\.0\.0|127\.0\.0\.1):(?P<port>[78]\d{3})\b")


@dataclass(frozen=True)
class Block:
    """A block that is run: its code, where its output stands (lines [first, end) of the page) and its picture.

    `line` is that of its fence, from 1 on; `end` is the last one that belongs to it.
    """

    language: str
    title: str | None
    code: str
    line: int
    end: int
    elsewhere: str | None = None
    needs: str | None = None
    output: tuple[int, int] | None = None
    varies: bool = False
    picture: str | None = None

    @property
    def is_file(self) -> bool:
        return self.title is not None and self.language != "bash"


@dataclass(frozen=True)
class Walk:
    """A page as what is run of it."""

    path: Path
    lines: tuple[str, ...]
    blocks: tuple[Block, ...]
    small: tuple[tuple[str, str], ...]
    slow: bool
    given: str | None = None

    def shown(self, block: Block) -> str:
        """The output of this block as the page shows it."""
        first, end = block.output or (0, 0)
        return "\n".join(self.lines[first:end])


def read_walk(path: Path) -> Walk:
    """Read a page; a `text` block or a picture belongs to the block before it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    blocks: list[Block] = []
    small: list[tuple[str, str]] = []
    varies, elsewhere, needs, given, at = False, None, None, None, 0
    while at < len(lines):
        comment, fence, picture = (pattern.match(lines[at]) for pattern in (_COMMENT, _FENCE, _PICTURE))
        if comment:
            match comment["word"]:
                case "small":
                    old, _, new = comment["rest"].partition(" => ")
                    small.append((old, new))
                case "elsewhere":
                    elsewhere = comment["rest"]
                case "given":
                    given = comment["rest"]
                case "needs":
                    needs = comment["rest"]
                case "varies":
                    varies = True
        elif picture and blocks and blocks[-1].picture is None:
            blocks[-1] = _with(blocks[-1], picture=picture["target"], end=at + 1)
        elif fence:
            end = lines.index("```", at + 1)
            if fence["language"] == "text":
                if blocks and blocks[-1].output is None:
                    blocks[-1] = _with(blocks[-1], output=(at + 1, end), varies=varies, end=end + 1)
                varies = False
            elif fence["language"] in ("bash", "python") or fence["title"]:
                code = "\n".join(lines[at + 1 : end])
                blocks.append(Block(fence["language"], fence["title"], code, at + 1, end + 1, elsewhere, needs))
                elsewhere = needs = None
            at = end
        at += 1
    return Walk(path, tuple(lines), tuple(blocks), tuple(small), lines[0] == MARKS[1], given)


def _with(block: Block, **changes: object) -> Block:
    return Block(**{**block.__dict__, **changes})  # type: ignore[arg-type]


def take(walk: Walk, folder: Path, small: bool = False) -> tuple[dict[Block, str], dict[Block, Path]]:
    """Run the page's blocks in `folder`; what each printed, and the pictures that were drawn.

    Raises:
        WalkFault: a block failed, or did not draw its picture; names the page's line.
    """
    ports = free_ports({found["port"] for block in walk.blocks for found in _ADDRESS.finditer(block.code)})
    printed: dict[Block, str] = {}
    drawn: dict[Block, Path] = {}
    terminals: dict[str | None, Terminal] = {}
    cells: Cells | None = None
    if walk.given:
        give(walk.given, folder)
    try:
        for block in walk.blocks:
            if block.elsewhere or (block.needs and not shutil.which(block.needs)):
                continue
            code = block.code
            for old, new in walk.small if small else ():
                code = code.replace(old, new)
            code = _ADDRESS.sub(lambda found: f"127.0.0.1:{ports[found['port']]}", code)
            picture = folder / Path(block.picture).name if block.picture else None
            try:
                if block.is_file:
                    path = folder / str(block.title)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(code + "\n", encoding="utf-8")
                    said = ""
                elif block.language == "python":
                    cells = cells or Cells(folder)
                    said = cells.run(code, picture)
                else:
                    if block.title not in terminals:
                        terminals[block.title] = Terminal(folder / (block.title or "."))
                    said = terminals[block.title].run(code)
                if picture is not None and not picture.is_file():
                    raise WalkFault(f"it did not draw {block.picture}")
            except WalkFault as fault:
                raise WalkFault(f"{walk.path.name}, line {block.line}: {fault}") from fault
            for port, ours in ports.items():
                said = said.replace(f"127.0.0.1:{ours}", f"127.0.0.1:{port}")
            printed[block] = said.replace(str(folder), "/home/me")
            if picture is not None:
                drawn[block] = picture
    finally:
        for host in [*terminals.values(), *([cells] if cells else [])]:
            host.close()
    return printed, drawn


_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
_TIME = re.compile(_NUMBER.pattern + r"(?= (?:s|seconds|images a second)\b)")


def figures_aside(text: str, times_alone: bool = False) -> list[str]:
    """The lines without their figures (or without seconds alone), rules and widths of columns, for a comparison."""
    text = re.sub(r"\b(?:[0-9a-f]{2}:?){8,}\b", "#", text)
    if not times_alone:
        text = re.sub(r"\b(?:stem|layer|stages)[\w.]*", "#", text)  # which gates a training chooses
    text = (_TIME if times_alone else _NUMBER).sub("#", text)
    lines = (re.sub(r"[─━┄═-]{2,}", "-", line) for line in text.splitlines())
    return [re.sub(r"\s+", " ", line).strip() for line in lines]


def differences(walk: Walk, printed: dict[Block, str], small: bool = False) -> list[str]:
    """One sentence for each block that printed something else than its page shows.

    In the small form, and where outputs vary, lines are compared without their figures, and a line may be there more or
    fewer times: a table of another length is the same table.
    """
    found = []
    for block, said in printed.items():
        if block.output is None:
            continue
        shown = walk.shown(block)
        if small or block.varies:
            kinds, expected = set(figures_aside(said)), set(figures_aside(shown))
            strange = sorted((kinds ^ expected) - {""})
        else:
            kinds_, expected_ = figures_aside(said, True), figures_aside(shown, True)
            strange = [] if kinds_ == expected_ else [line for line in kinds_ if line not in expected_] or kinds_
        if strange:
            found.append(
                f"{walk.path.name}, line {block.line}: the page does not show {strange[:6]}; it printed:\n{said}"
            )
    return found


def written(walk: Walk, printed: dict[Block, str]) -> str:
    """The page with these outputs in their places."""
    lines = list(walk.lines)
    for block in sorted(printed, key=lambda block: block.line, reverse=True):
        if block.output is not None:
            first, end = block.output
            lines[first:end] = printed[block].splitlines()
    return "\n".join(lines) + "\n"


def walks() -> list[Path]:
    return [path for path in sorted(DOCS.rglob("*.md")) if path.read_text(encoding="utf-8").startswith(MARKS)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="default: all walks")
    parser.add_argument("--check", action="store_true", help="write nothing, say what a page does not show")
    parser.add_argument("--small", action="store_true", help="with --check: as small as the page says")
    options = parser.parse_args(arguments)
    status = 0
    for path in options.pages or walks():
        walk = read_walk(path)
        with tempfile.TemporaryDirectory() as folder:
            try:
                printed, drawn = take(walk, Path(folder).resolve(), options.check and options.small)
            except WalkFault as fault:
                print(fault)
                return 1
            if options.check:
                strange = differences(walk, printed, options.small)
                print("\n".join(strange) or f"{path.name}: as shown")
                status |= bool(strange)
                continue
            path.write_text(written(walk, printed), encoding="utf-8")
            for block, picture in drawn.items():
                (path.parent / str(block.picture)).write_bytes(picture.read_bytes())
        print(f"{path.name}: {len(printed)} blocks run")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
