"""Latency tables on disk, one JSON file per content hash; what cannot be proved fresh and whole is built again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rrnet_nni.base.files import write_whole
from rrnet_nni.base.settings import checked

from ..devices import Device
from ..program import RING_BITS
from ..program.operators import NamedOperator, OperatorShape
from .latency import OperatorCost

SCHEMA_VERSION = 1
_FPGA = Path(__file__).parents[1]
#: Relative to the room; folders with all that lies below them.
_SOURCES = ("ring/geometry.py", "program", "cost", "protocols", "devices")
_log = logging.getLogger(__name__)

CostGroups = tuple[dict[str, dict[str, OperatorCost]], dict[str, OperatorCost]]


@cache
def source_digest() -> str:
    """Hash of the modules that costs come from: a changed formula makes every older table stale."""
    digest = hashlib.sha256()
    for entry in _SOURCES:
        path = _FPGA / entry
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(_FPGA)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def content_hash(
    choices: Mapping[str, Mapping[str, OperatorShape]], fixed: Sequence[NamedOperator], device: Device, protocol: str
) -> str:
    """Hash of everything that a table depends on: shapes, device constants, protocol, ring, formulas."""
    content = {
        "schema": SCHEMA_VERSION,
        "sources": source_digest(),
        "ring_bits": RING_BITS,
        "device": [device.name, device.constants()],
        "protocol": protocol,
        "choices": [
            [label, [[candidate, _described(shape)] for candidate, shape in candidates.items()]]
            for label, candidates in choices.items()
        ],
        "fixed": [[operator.name, _described(operator.shape)] for operator in fixed],
    }
    return _digest(content)


def _described(shape: OperatorShape) -> list[Any]:
    return [type(shape).__name__, vars(shape)]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def read_cached(directory: Path, key: str) -> CostGroups | None:
    """The table of this hash, or None if there is no whole one."""
    try:
        document = json.loads((directory / f"{key}.json").read_bytes())
        if document["key"] != key or document["digest"] != _digest(document["table"]):
            raise ValueError("its content does not match its digest")
        table = document["table"]
        entries = {
            label: {candidate: checked(values, OperatorCost) for candidate, values in candidates.items()}
            for label, candidates in table["entries"].items()
        }
        return entries, {name: checked(values, OperatorCost) for name, values in table["fixed"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _log.warning("latency table %s/%s.json is damaged (%s): building it again", directory, key, error)
        return None


def write_cached(directory: Path, key: str, groups: CostGroups) -> None:
    """Keep a table; readers see the whole file or none. A directory that cannot be written is only worth a warning."""
    entries, fixed = groups
    table = {
        "entries": {
            label: {candidate: vars(cost) for candidate, cost in candidates.items()}
            for label, candidates in entries.items()
        },
        "fixed": {name: vars(cost) for name, cost in fixed.items()},
    }
    document = {"key": key, "digest": _digest(table), "table": table}
    try:
        write_whole(directory / f"{key}.json", json.dumps(document, indent=1, allow_nan=False).encode())
    except OSError as error:
        _log.warning("latency table not kept in %s (%s)", directory, error)
