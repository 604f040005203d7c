"""Files are either whole or not there, and a failure leaves what was there before."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from rrnet_nni.base.files import whole_file, write_whole, write_whole_json


def test_a_block_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail() -> None:
        with whole_file(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_the_mode_is_what_was_asked_for(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "secret", b"x", mode=0o600)
    write_whole_json(tmp_path / "a" / "open.json", {"one": 1})
    assert stat.S_IMODE((tmp_path / "a" / "b" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a" / "open.json").stat().st_mode) == 0o644
    assert json.loads((tmp_path / "a" / "open.json").read_text()) == {"one": 1}
