"""Builds in which one file was replaced on purpose."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def rewritten(build: Path, target: Path, name: str, data: bytes) -> Path:
    """A copy of the build with one file replaced and the manifest made to agree."""
    target.mkdir()
    for file in filter(Path.is_file, build.iterdir()):
        (target / file.name).write_bytes(file.read_bytes())
    (target / name).write_bytes(data)
    manifest = json.loads((build / "manifest.json").read_bytes())
    manifest["files"][name]["sha256"] = hashlib.sha256(data).hexdigest()
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target
