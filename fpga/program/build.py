"""Read a build directory back: the program, its secret constants and the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.image_format import ImageFormat, read_format

from ..devices import Device, load_device, parse_device
from . import Program, program_from_dict

BUILD_FORMAT = "rrnet-2pc-build"
BUILD_SCHEMA = 1
MANIFEST = "manifest.json"
PROGRAM = "program.json"
WEIGHTS = "weights.bin"
REPORT = "report.json"
INSTRUCTIONS = "instructions.bin"
OPERANDS = "operands.bin"
TILES = "tiles.json"
TRACE = "trace.json"
PAGE = "report.html"
DEVICE = "device.yaml"
IMAGES = "images.json"
#: The part of a build that the client gets, itself a build without weights; all else is the server's.
CLIENT = "client"


@dataclass(frozen=True)
class Build:
    """A compiled model.

    Attributes:
        program: the two-party program (public).
        weights: int32 words of every constant, by name: the server's secret, empty where weights.bin is not there.
        report: what report.json says.
        device_name: the device that the schedule was made for; `build_device` reads it.
        protocol_name: the protocol that the schedule was made for.
        path: the directory.
        images: what the network knows of its images (public); None where the model said nothing.
        program_digest: SHA-256 of program.json, for two parties to compare; nothing secret is in it.
    """

    program: Program
    weights: dict[str, np.ndarray]
    report: dict[str, Any]
    device_name: str
    protocol_name: str
    path: Path
    program_digest: str
    images: ImageFormat | None = None


@dataclass(frozen=True)
class CalibratedRange:
    """What calibration saw of the program's input: the largest absolute value, and the largest that formats allow."""

    seen: float
    limit: float


def calibrated_range(build: Build) -> CalibratedRange | None:
    """The range of the build's input for which its formats were certified; None where its report certifies nothing."""
    rows = build.report.get("certificate", ())
    row = next((each for each in rows if each["tensor"] == build.program.input), None)
    if row is None:
        return None
    seen = float(row["seen"])
    return CalibratedRange(seen, seen * float(build.report["calibration"]["headroom"]))


def is_build(path: Path) -> bool:
    """Whether the directory says of itself that `rrnet-2pc-compile` wrote it."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == BUILD_FORMAT


def load_build(path: Path | str, weights: bool = True) -> Build:
    """Read and verify a build directory.

    Args:
        path: what `rrnet-2pc-compile -o` wrote.
        weights: read weights.bin; a client that does not own the model passes False and needs no such file.

    Raises:
        Refusal: no build there, a file missing or damaged, or a schema of another version.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    files = manifest["files"]
    verified = {name: _read_verified(path, name, files) for name in (PROGRAM, REPORT, *((WEIGHTS,) if weights else ()))}
    program = program_from_dict(_json(path / PROGRAM, verified[PROGRAM]), str(path / PROGRAM))
    report = _json(path / REPORT, verified[REPORT])
    return Build(
        program=program,
        weights=split_weights(program, verified[WEIGHTS], str(path / WEIGHTS)) if weights else {},
        report=report,
        device_name=str(report.get("device", "")),
        protocol_name=str(report.get("protocol", "")),
        path=path,
        program_digest=files[PROGRAM]["sha256"],
        images=read_format(_read_verified(path, IMAGES, files), str(path / IMAGES)) if IMAGES in files else None,
    )


def read_build_file(path: Path | str, name: str) -> bytes:
    """One verified file of a build, as bytes."""
    path = Path(path)
    return _read_verified(path, name, _read_manifest(path)["files"])


def build_device(build: Build) -> Device:
    """The device that the schedule was made for, as the build describes it, or by its name where it does not."""
    if DEVICE not in _read_manifest(build.path)["files"]:
        return load_device(build.device_name)
    return parse_device(read_build_file(build.path, DEVICE), str(build.path / DEVICE))


def split_weights(program: Program, data: bytes, where: str = WEIGHTS) -> dict[str, np.ndarray]:
    """Cut weights.bin into its constants, int32 and read-only."""
    words = np.frombuffer(data[: len(data) // 4 * 4], dtype="<i4").astype(np.int32, copy=False)
    constants = {}
    for constant in program.constants.values():
        start, count = constant.offset // 4, int(np.prod(constant.shape, dtype=np.int64))
        if constant.offset % 4 or start < 0 or start + count > words.size:
            raise Refusal(f"{where}: constant {constant.name!r} lies outside of the file")
        constants[constant.name] = words[start : start + count].reshape(constant.shape)
    return constants


def _read_manifest(path: Path) -> Mapping[str, Any]:
    if not is_build(path):
        raise Refusal(f"{path} is not a build directory; rrnet-2pc-compile makes one")
    manifest: Mapping[str, Any] = json.loads((path / MANIFEST).read_bytes())
    if manifest.get("schema") != BUILD_SCHEMA:
        raise Refusal(f"{path / MANIFEST}: schema {manifest.get('schema')!r} is not {BUILD_SCHEMA}; compile again")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise Refusal(f"{path / MANIFEST}: `files` does not list the files of the build")
    return manifest


def _read_verified(path: Path, name: str, files: Mapping[str, Any]) -> bytes:
    try:
        data = (path / name).read_bytes()
    except OSError as error:
        raise Refusal(f"{path / name} cannot be read: {error.strerror}") from error
    if name not in files or hashlib.sha256(data).hexdigest() != files[name].get("sha256"):
        raise Refusal(f"{path / name} is damaged: its checksum is not the one in {MANIFEST}")
    return data


def _json(path: Path, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise Refusal(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Refusal(f"{path} does not hold a JSON object")
    return document
