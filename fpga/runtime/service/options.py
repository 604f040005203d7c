"""Options that several commands of the service have."""

from __future__ import annotations

import argparse

from ..commands.party_options import count
from .models.catalogue import named_build, read_list
from .models.model import Model, load_model
from .peers.filling import Marks

LOW, HIGH, PER_SET = 64, 256, 64


def add_marks(parser: argparse.ArgumentParser, whose: str = "") -> None:
    """Add when material is made."""
    parser.add_argument(
        "--low", type=count, default=LOW, help=f"{whose}make material when fewer inferences are left (default {LOW})"
    )
    parser.add_argument("--high", type=count, default=HIGH, help=f"{whose}until there are this many (default {HIGH})")
    parser.add_argument(
        "--per-set", type=count, default=PER_SET, help=f"{whose}inferences of one set (default {PER_SET})"
    )


def marks_of(options: argparse.Namespace) -> Marks:
    """What `add_marks` asked for.

    Raises:
        Refusal: a set of so many cannot be made at once.
    """
    return Marks(options.low, max(options.low, options.high), options.per_set)


def listed(options: argparse.Namespace) -> list[str]:
    """`[NAME=]BUILD` of all models, on the command line and in the file as it is now."""
    return [*options.builds, *([] if options.models is None else read_list(options.models))]


def load_listed(named: str, options: argparse.Namespace, party: int, certificates: str | None) -> Model:
    """One of them, with the pool that the options say, bound to the two servers' `certificates`.

    Raises:
        Refusal: it is no build, or has no proper name.
    """
    name, build = named_build(named)
    kind = "pool" if options.direct is None else "clients"
    pool = build.resolve().with_name(f"{build.resolve().name}.{kind}") if options.pool is None else options.pool / name
    return load_model(
        name,
        build,
        party,
        pool,
        protocol=options.protocol,
        batch=options.batch,
        most_waiting=options.most_waiting,
        certificates=certificates,
    )
