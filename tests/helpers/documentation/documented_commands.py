"""The commands that README and docs print, in their order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: A line of a code block that begins with one of these is a command.
WORDS = ("rrnet", "rrnet-2pc-", "make", "nnictl", "python", ". ", "NODE_OPTIONS", "PIP_EXTRA", "pip ", "eval ")


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def documented_commands(document: Path) -> list[str]:
    """Commands of indented and fenced blocks, joined where a line goes on, without their comments."""
    commands: list[str] = []
    fenced, unfinished = False, ""
    for line in document.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
            continue
        if not fenced and not line.startswith("    "):
            unfinished = ""
            continue
        text = unfinished + line.strip()
        unfinished = ""
        if not text.startswith(WORDS):
            continue
        if text.endswith("\\"):
            unfinished = text[:-1]
            continue
        command = re.split(r"\s#\s|\s{2,}", text)[0].strip()
        commands += [part.strip() for part in command.split("&&")]
    return commands


def words_of(command: str) -> list[str]:
    """The command's words, without the variables before it and the redirections behind."""
    words = shlex.split(re.split(r"\s(?:\||\d?>|&|2>&1)(?:\s|$)", command)[0])
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words
