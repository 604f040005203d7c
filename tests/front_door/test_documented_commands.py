"""What README and docs tell a reader to type is what the commands take."""

from __future__ import annotations

import argparse
import tomllib
from importlib import import_module
from typing import Any

import pytest
from helpers.documentation.documented_commands import ROOT, documented_commands, documents, words_of

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
COMMANDS = [
    pytest.param(words, id=f"{document.name}: {' '.join(words)[:70]}")
    for document in documents()
    for words in map(words_of, documented_commands(document))
    if words and words[0] in SCRIPTS
]


class Parsed(Exception):
    """The command line was understood."""


def test_commands_are_found_and_those_of_every_script() -> None:
    shown = {param.values[0][0] for param in COMMANDS}
    assert len(COMMANDS) > 40
    assert {"rrnet", "rrnet-2pc-compile", "rrnet-2pc-run", "rrnet-2pc-prepare", "rrnet-2pc-simulate"} <= shown


@pytest.mark.parametrize("words", COMMANDS)
def test_every_documented_command_is_understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser, *arguments: Any) -> None:
        parse(self, *arguments)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    module, function = SCRIPTS[words[0]].split(":")
    main = getattr(import_module(module), function)
    with pytest.raises(Parsed):
        main(words[1:])
