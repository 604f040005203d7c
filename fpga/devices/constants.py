"""How a constant of a device file is declared: what it means and which numbers are possible."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def constant(meaning: str, *, zero: bool = False, whole: bool = False, at_most: float | None = None) -> Any:
    """A dataclass field that the device file must give, with its provenance."""
    return field(metadata={"meaning": meaning, "zero": zero, "whole": whole, "at_most": at_most})
