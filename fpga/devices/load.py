"""Reading device files: strict, so that a slip of the pen never becomes a latency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.settings import WrongSetting, parse_yaml

from .accelerator import Accelerator
from .device import Device, Provenance, ProvenanceKind

SCHEMA_VERSION = 1
#: Beyond these a constant is a slip of units, and latencies would leave the range of floats.
SMALLEST, LARGEST = 1e-12, 1e18
_DIRECTORY = Path(__file__).parent
_UNSAID = Provenance("assumed", "its source was not said")


@dataclass(frozen=True)
class _Entry:
    """A constant of a device file."""

    value: Any
    provenance: ProvenanceKind
    source: str

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise WrongSetting("source must say where the constant comes from, in words")


def _section(declared: type[Device] | type[Accelerator]) -> type:
    """A dataclass with an entry for each constant that `declared` has."""
    return make_dataclass(declared.__name__, [(name, _Entry) for name in _rules(declared)], frozen=True)


def _rules(declared: type[Device] | type[Accelerator]) -> dict[str, Mapping[str, Any]]:
    return {item.name: item.metadata for item in fields(declared) if "meaning" in item.metadata}


_DEVICE, _ACCELERATOR = _section(Device), _section(Accelerator)


@dataclass(frozen=True)
class _DeviceFile:
    schema: Literal[1]
    name: str
    constants: _DEVICE  # type: ignore[valid-type]
    description: str = ""
    accelerator: _ACCELERATOR | None = None  # type: ignore[valid-type]

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise WrongSetting("name must not be empty")


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
    file = parse_yaml(data, path, _DeviceFile)
    values, provenance = _read_constants(file.constants, f"{path}: constants", Device)
    accelerator = None
    if file.accelerator is not None:
        numbers, sources = _read_constants(file.accelerator, f"{path}: accelerator", Accelerator)
        accelerator, provenance = Accelerator(**numbers), provenance | sources
    description = file.description.strip()
    return Device(name=file.name, description=description, accelerator=accelerator, provenance=provenance, **values)


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
    values: dict[str, Any] = {}
    provenance: dict[str, Provenance] = {}
    for key, rules in _rules(declared).items():
        entry: _Entry = getattr(section, key)
        values[key] = _number(entry.value, f"{where}.{key}.value", rules)
        provenance[key] = Provenance(entry.provenance, entry.source.strip())
    return values, provenance


def _number(value: Any, where: str, rules: Mapping[str, Any]) -> float:
    wanted = "a non-negative" if rules["zero"] else "a positive"
    wanted += " whole number" if rules["whole"] else " finite number"
    if rules["at_most"] is not None:
        wanted += f" of at most {rules['at_most']:g}"
    expected = f"{where}: expected {wanted} ({rules['meaning']}), found {value!r}"
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
