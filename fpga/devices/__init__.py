"""Device descriptions: boards and networks as YAML, read into frozen dataclasses."""

from .accelerator import Accelerator
from .device import PROVENANCES, Device, Provenance
from .load import device_file, device_names, load_device, parse_device

__all__ = [
    "PROVENANCES",
    "Accelerator",
    "Device",
    "Provenance",
    "device_file",
    "device_names",
    "load_device",
    "parse_device",
]
