"""One place knows where the cache is, and what is left in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rrnet_nni.base.caches import cache_folder, prune


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RRNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("kernels") == tmp_path / "xdg" / "rrnet-nni" / "kernels"
    monkeypatch.setenv("RRNET_CACHE", str(tmp_path / "own"))
    assert cache_folder("kernels") == tmp_path / "own" / "kernels"


def test_pruning_keeps_what_was_used_last_of_the_pattern(tmp_path: Path) -> None:
    for number, name in enumerate(("a.so", "b.so", "c.so", "other.txt")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))
    prune(tmp_path, "*.so", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.so", "c.so", "other.txt"]
