"""The folder in which everything is kept that can be made again: kernels, latency tables, decoded images."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import platformdirs


def cache_folder(*parts: str) -> Path:
    """A folder of the cache, which may not exist yet: below `$RRNET_CACHE`, else the user's `~/.cache/rrnet-nni`."""
    own = os.environ.get("RRNET_CACHE")
    root = Path(own) if own else platformdirs.user_cache_path("rrnet-nni", appauthor=False)
    return root.joinpath(*parts)


def prune(folder: Path, pattern: str, keep: int) -> None:
    """Delete the files of `folder` that match `pattern`, but for the `keep` that were used last."""
    aged = []
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another process prunes the same folder
            aged.append((path.stat().st_mtime, path))
    for _, path in sorted(aged, reverse=True)[keep:]:
        path.unlink(missing_ok=True)
