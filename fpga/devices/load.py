"""Reading device files: strict, so that a slip of the pen never becomes a latency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from rrnet_nni.base.errors import Refusal

from .accelerator import Accelerator
from .device import PROVENANCES, Device, Provenance

SCHEMA_VERSION = 1
#: Beyond these a constant is a slip of units, and latencies would leave the range of floats.
SMALLEST, LARGEST = 1e-12, 1e18
_DIRECTORY = Path(__file__).parent
_TOP_KEYS = ("schema", "name", "description", "constants", "accelerator")
_ENTRY_KEYS = ("value", "provenance", "source")
_UNSAID = Provenance("assumed", "its source was not said")


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key may stand only once and no node may be an alias."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError(f"aliases are not part of a device file{_place(self.peek_event().start_mark)}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(f"the key {key.value!r} stands twice{_place(key.start_mark)}")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _place(mark: Any) -> str:
    return f" (line {mark.line + 1})" if mark is not None else ""


def device_names() -> tuple[str, ...]:
    """Names of the devices that come with the package."""
    return tuple(sorted(path.stem for path in _DIRECTORY.glob("*.yaml")))


def load_device(name_or_path: str | Path) -> Device:
    """Read a device that comes with the package by its name, or any device file by its path.

    Raises:
        Refusal: there is no such device, or the file is not a device; says the file, the key and what was expected.
    """
    name = str(name_or_path)
    if name in device_names():
        return _read(_DIRECTORY / f"{name}.yaml")
    if not (name.endswith((".yaml", ".yml")) or "/" in name):
        raise Refusal(f"device {name!r} is unknown: expected one of {', '.join(device_names())} or a path to a .yaml")
    return _read(Path(name))


def _read(path: Path) -> Device:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: cannot read this device file ({error.strerror})") from error
    return parse_device(data, str(path))


def parse_device(data: bytes, path: str) -> Device:
    """The device that a device file describes; `path` names it in refusals, as of `load_device`."""
    try:
        document = yaml.load(data, _StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise Refusal(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    document = _mapping(document, path, _TOP_KEYS, optional=("description", "accelerator"))
    if type(document["schema"]) is not int or document["schema"] != SCHEMA_VERSION:
        raise Refusal(f"{path}: schema: expected {SCHEMA_VERSION}, found {document['schema']!r}")
    name, description = document["name"], document.get("description", "")
    if not isinstance(name, str) or not name.strip():
        raise Refusal(f"{path}: name: expected a non-empty text, found {name!r}")
    if not isinstance(description, str):
        raise Refusal(f"{path}: description: expected a text, found {description!r}")
    values, provenance = _read_constants(document["constants"], f"{path}: constants", Device)
    accelerator = None
    if "accelerator" in document:
        numbers, sources = _read_constants(document["accelerator"], f"{path}: accelerator", Accelerator)
        accelerator, provenance = Accelerator(**numbers), provenance | sources
    return Device(name=name, description=description.strip(), accelerator=accelerator, provenance=provenance, **values)


def device_file(device: Device) -> bytes:
    """The device file from which `parse_device` reads this device."""

    def section(values: Mapping[str, float]) -> dict[str, Any]:
        known = {key: device.provenance.get(key, _UNSAID) for key in values}
        return {
            key: {"value": value, "provenance": known[key].kind, "source": known[key].source}
            for key, value in values.items()
        }

    extra = device.accelerator.constants() if device.accelerator else {}
    own = {key: value for key, value in device.constants().items() if key not in extra}
    document = {"schema": SCHEMA_VERSION, "name": device.name, "description": device.description}
    document |= {"constants": section(own)} | ({"accelerator": section(extra)} if extra else {})
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120).encode()


def _read_constants(
    section: Any, where: str, declared: type[Device] | type[Accelerator]
) -> tuple[dict[str, Any], dict[str, Provenance]]:
    known = {item.name: item.metadata for item in fields(declared) if "meaning" in item.metadata}
    entries = _mapping(section, where, tuple(known))
    values: dict[str, Any] = {}
    provenance: dict[str, Provenance] = {}
    for key, rules in known.items():
        values[key], provenance[key] = _read_constant(entries[key], f"{where}.{key}", rules)
    return values, provenance


def _read_constant(entry: Any, where: str, rules: Mapping[str, Any]) -> tuple[float, Provenance]:
    entry = _mapping(entry, where, _ENTRY_KEYS)
    kind, source = entry["provenance"], entry["source"]
    if kind not in PROVENANCES:
        raise Refusal(f"{where}.provenance: expected one of {', '.join(PROVENANCES)}, found {kind!r}")
    if not isinstance(source, str) or not source.strip():
        raise Refusal(f"{where}.source: expected where the constant comes from, in words, found {source!r}")
    return _number(entry["value"], f"{where}.value", rules), Provenance(kind, source.strip())


def _number(value: Any, where: str, rules: Mapping[str, Any]) -> float:
    wanted = "a non-negative" if rules["zero"] else "a positive"
    wanted += " whole number" if rules["whole"] else " finite number"
    if rules["at_most"] is not None:
        wanted += f" of at most {rules['at_most']:g}"
    expected = f"{where}: expected {wanted} ({rules['meaning']}), found {value!r}"
    if isinstance(value, str):
        raise Refusal(f"{expected}; YAML takes 1e6 for text: write 1.0e+6 or 1_000_000")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(expected)
    if rules["whole"] and not isinstance(value, int):
        raise Refusal(expected)
    if isinstance(value, int) and abs(value) > LARGEST:
        raise Refusal(f"{where}: expected a number of at most {LARGEST:g} ({rules['meaning']})")
    if not math.isfinite(value) or value < 0 or (value == 0 and not rules["zero"]):
        raise Refusal(expected)
    if rules["at_most"] is not None and value > rules["at_most"]:
        raise Refusal(expected)
    if value != 0 and not SMALLEST <= value <= LARGEST:
        raise Refusal(f"{expected}: no real board lies outside of {SMALLEST:g} to {LARGEST:g}")
    return value if rules["whole"] else float(value)


def _mapping(value: Any, where: str, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(f"{where}: expected a mapping with the keys {', '.join(keys)}, found {value!r:.80}")
    if unknown := [key for key in value if key not in keys]:
        raise Refusal(f"{where}: unknown key {unknown[0]!r}: expected {', '.join(keys)}")
    if missing := [key for key in keys if key not in value and key not in optional]:
        raise Refusal(f"{where}: the key {missing[0]!r} is missing: expected {', '.join(keys)}")
    return value
