"""Completion by the shell: `eval "$(register-python-argcomplete rrnet)"`, and TAB asks the command itself."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

#: What a shell that asks sets.
ASKED = "_ARGCOMPLETE"
#: Names of arguments and options, by `dest`, that are no fixed choices, as that of a device which may also be a file.
Names = Callable[[], Mapping[str, Iterable[str]]]


def completing() -> bool:
    """Whether this process only answers a shell."""
    return ASKED in os.environ


def answer_shell(parser: argparse.ArgumentParser, names: Names | None = None) -> None:
    """Where a shell asks, print what fits and end the process: verbs, options, choices, `names`, and else files."""
    if not completing():
        return
    import argcomplete

    offered = names() if names is not None else {}
    for action in _actions(parser):
        if action.dest in offered:
            action.completer = _completer(tuple(offered[action.dest]))  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)


def _completer(names: tuple[str, ...]) -> Callable[..., list[str]]:
    from argcomplete.completers import FilesCompleter

    files = FilesCompleter()

    def complete(prefix: str, **_: object) -> list[str]:
        return [name for name in names if name.startswith(prefix)] or list(files(prefix))

    return complete
