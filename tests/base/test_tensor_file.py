"""Files of tensors: whole or refused."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
import torch

from rrnet_nni.base.tensor_file import UnreadableTensors, read_tensors


@pytest.mark.parametrize("zipped", [True, False])
def test_what_was_saved_is_read(tmp_path: Path, zipped: bool) -> None:
    torch.save({"a": torch.arange(9.0)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_tensors(tmp_path / "x.pt")["a"], torch.arange(9.0))


def test_one_flipped_bit_of_a_weight_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.arange(100.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<f", 50.0)) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableTensors, match="a checksum is wrong"):
        read_tensors(path)


def test_damage_of_any_kind_has_one_name(tmp_path: Path) -> None:
    """Readers of pickles meet it with struct.error, IndexError, UnicodeDecodeError and others."""
    path = tmp_path / "x.pt"
    generator = random.Random(0)
    refused = 0
    for zipped in (True, False):
        torch.save({"a": torch.ones(30), "b": {"c": 1}}, path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        for _ in range(200):
            damaged = bytearray(whole[: generator.randrange(1, len(whole))])
            for _ in range(8):
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            path.write_bytes(damaged)
            try:
                read_tensors(path)
            except UnreadableTensors:
                refused += 1
    assert refused == 400


def test_no_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "x.pt")
    with pytest.raises(UnreadableTensors, match="IsADirectoryError"):
        read_tensors(tmp_path)
