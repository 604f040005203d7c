"""A file of corrections gives each operation's when it is asked for, and never others than were written."""

import tracemalloc

import numpy as np
import pytest

from rrnet_nni.base.errors import ExecutionFault, Refusal
from rrnet_nni.fpga.runtime.material.corrections_file import CorrectionsFile, write_corrections

LENGTHS = 5, 0, 1 << 20, 7, 3 << 20


@pytest.fixture
def written(tmp_path):
    generator = np.random.default_rng(0)
    parts = [generator.integers(0, 256, length, np.uint8) for length in LENGTHS]
    write_corrections(tmp_path / "corrections.bin", parts)
    return tmp_path / "corrections.bin", parts


def test_every_part_is_read_as_it_was_written_in_any_order_and_again(written):
    path, parts = written
    found = CorrectionsFile(path)
    assert len(found) == len(parts)
    for place in (4, 0, 3, 1, 2, 4, -1):
        assert np.array_equal(found[place], parts[place])
    with pytest.raises(IndexError):
        found[5]
    assert all(map(np.array_equal, found, parts))
    assert all(map(np.array_equal, found[1:4], parts[1:4]))


def test_parts_are_the_readers_own(written):
    path, parts = written
    found = CorrectionsFile(path)
    found[3][:] = 0
    assert np.array_equal(found[3], parts[3])


def test_a_removed_file_can_be_read_on(written):
    path, parts = written
    found = CorrectionsFile(path)
    path.unlink()
    assert np.array_equal(found[2], parts[2])
    with pytest.raises(ExecutionFault, match="cannot be read: No such file"):
        CorrectionsFile(path)


def test_no_more_is_in_memory_than_the_part_that_is_read(written):
    path, parts = written
    tracemalloc.start()
    try:
        found = CorrectionsFile(path)
        _, checked = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for place in range(len(found)):
            assert len(found[place]) == len(parts[place])
        _, read = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert checked < 1 << 19
    assert read < (3 << 20) + (1 << 16)


@pytest.mark.parametrize("place", [0, 7, 8, 30, 48, 53, 1 << 20, (1 << 20) + 70, -30, -24, -20, -1])
def test_a_changed_octet_anywhere_is_refused_before_what_it_is_part_of_is_used(written, place):
    path, parts = written
    octets = bytearray(path.read_bytes())
    octets[place] ^= 1
    path.write_bytes(octets)
    used = []
    with pytest.raises(Refusal, match="damaged"):
        used.extend(CorrectionsFile(path))
    assert all(map(np.array_equal, used, parts))


def test_a_file_that_is_cut_is_refused_before_and_while_it_is_read(written):
    path, _ = written
    whole = path.read_bytes()
    found = CorrectionsFile(path)
    path.write_bytes(whole[:-100])
    with pytest.raises(Refusal, match="damaged"):
        found[4]
    for octets in (whole[:-1], whole[:11], b""):
        path.write_bytes(octets)
        with pytest.raises(Refusal, match="damaged"):
            CorrectionsFile(path)
