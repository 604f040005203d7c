"""Device descriptions: boards and networks as YAML, read into frozen dataclasses."""

from .accelerator import Accelerator
from .device import PROVENANCES, Device, Provenance
from .load import device_names, load_device

__all__ = ["PROVENANCES", "Accelerator", "Device", "Provenance", "device_names", "load_device"]
