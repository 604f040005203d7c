"""Values of JSON as the fields of a frozen dataclass, each of the type that the class declares."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def read_fields(kind: type, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `kind` that `entry` holds, lists as tuples.

    Raises:
        ValueError: a field is unknown, missing or of another type; the message names it.
    """
    hints, needed = _declared(kind)
    if unknown := [key for key in entry if key not in hints]:
        raise ValueError(f"the field {unknown[0]!r:.60} is unknown")
    if missing := sorted(needed - entry.keys()):
        raise ValueError(f"the field {missing[0]!r} is missing")
    values = {key: _tuples(value) for key, value in entry.items()}
    for key, value in values.items():
        if not _fits(value, hints[key]):
            raise ValueError(f"{key!r} is {entry[key]!r:.60}, expected {getattr(hints[key], '__name__', hints[key])}")
    return values


@lru_cache
def _declared(kind: type) -> tuple[dict[str, Any], frozenset[str]]:
    """Types of the fields, and which have no default."""
    hints = get_type_hints(kind)
    known = fields(kind)  # type: ignore[arg-type]
    needed = (item.name for item in known if item.default is MISSING and item.default_factory is MISSING)
    return {item.name: hints[item.name] for item in known}, frozenset(needed)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is UnionType:
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if not isinstance(value, tuple):
            return False
        if kinds[1:] == (...,):
            return all(_fits(item, kinds[0]) for item in value)
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return value is None if hint is NoneType else type(value) is hint
