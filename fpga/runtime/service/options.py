"""Options that several commands of the service have."""

from __future__ import annotations

import argparse

from ..commands.party_options import count
from .peers.filling import Marks

LOW, HIGH, PER_SET = 64, 256, 64


def add_marks(parser: argparse.ArgumentParser, whose: str = "") -> None:
    """Add when material is made."""
    parser.add_argument("--low", type=count, default=LOW, help=f"{whose}make material below this (default {LOW})")
    parser.add_argument("--high", type=count, default=HIGH, help=f"{whose}until there is so much (default {HIGH})")
    parser.add_argument(
        "--per-set", type=count, default=PER_SET, help=f"{whose}inferences made at once (default {PER_SET})"
    )


def marks_of(options: argparse.Namespace) -> Marks:
    """What `add_marks` asked for.

    Raises:
        Refusal: a set of so many cannot be made at once.
    """
    return Marks(options.low, max(options.low, options.high), options.per_set)
