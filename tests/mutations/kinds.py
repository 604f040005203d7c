"""What a mutation is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """In a file of the package (`fpga/...`), the only place that reads `old` becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """A fault, its edits, and the test (`file::name`, without parameters) that must fail."""

    name: str
    edits: tuple[Edit, ...]
    test: str


def one(name: str, test: str, file: str, old: str, new: str) -> Mutation:
    """A mutation of a single edit."""
    return Mutation(name, (Edit(file, old, new),), test)
