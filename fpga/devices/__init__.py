"""Device descriptions: boards and networks as YAML, read into frozen dataclasses."""

from .accelerator import Accelerator
from .device import Device, Provenance, ProvenanceKind
from .load import device_file, device_names, load_device, parse_device

__all__ = [
    "Accelerator",
    "Device",
    "Provenance",
    "ProvenanceKind",
    "device_file",
    "device_names",
    "load_device",
    "parse_device",
]
