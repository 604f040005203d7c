"""What every command line of the project shares: exit statuses, `--json`, `--debug`.

Status 0 is done, 1 is failed while running, 2 is bad usage or bad input.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .completion import Names, answer_shell
from .errors import ExecutionFault, Refusal
from .extras import refuses_without_libraries

DONE, FAILED, BAD_USAGE = 0, 1, 2


class Parser(argparse.ArgumentParser):
    """An argument parser whose help keeps its examples and whose errors are one sentence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_common_options(parser: argparse.ArgumentParser, json_output: bool = True) -> None:
    """Add `--debug`, and `--json` where a program would read the answer."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if json_output:
        parser.add_argument("--json", action="store_true", help="print the answer as JSON, and nothing else")


def print_json(answer: Any) -> None:
    """Print one JSON object or list on standard output."""
    json.dump(answer, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def run_command(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int | None],
    arguments: Sequence[str] | None = None,
    names: Names | None = None,
) -> int:
    """Parse, run and turn every error into its exit status; a shell that completes is told `names` too.

    A `Refusal` is the user's mistake (status 2); anything else is a fault of ours or of the machine (status 1).
    """
    answer_shell(parser, names)
    options = parser.parse_args(arguments)
    try:
        return refuses_without_libraries(command)(options) or DONE
    except Refusal as refusal:
        return _report(parser.prog, refusal, BAD_USAGE, options)
    except KeyboardInterrupt:
        sys.stderr.write(f"{parser.prog}: interrupted\n")
        return 130
    except ExecutionFault as fault:
        return _report(parser.prog, fault, FAILED, options)
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        described = RuntimeError(f"{type(error).__name__}: {error} (--debug shows where)")
        described.__cause__ = error
        return _report(parser.prog, described, FAILED, options)


def _report(prog: str, error: Exception, status: int, options: argparse.Namespace) -> int:
    if getattr(options, "debug", False):
        traceback.print_exception(error, file=sys.stderr)
    message = " ".join(str(error).split())
    sys.stderr.write(f"{prog}: {message}\n")
    return status
