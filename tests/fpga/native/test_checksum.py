"""Checksums are zlib's, however they are computed."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrnet_nni.fpga.native import checksum
from rrnet_nni.fpga.native.library import CompilationUnavailable


def compiled():
    try:
        return checksum.CompiledChecksum()
    except CompilationUnavailable as error:
        pytest.skip(str(error))


@given(octets=st.binary(min_size=64, max_size=3000), before=st.integers(0, 2**32 - 1), shift=st.integers(0, 20))
def test_the_compiled_checksum_is_zlibs_wherever_octets_begin_and_end(octets, before, shift):
    part = memoryview(bytes(64) + octets)[shift:]
    assert compiled()(part, before) == zlib.crc32(part, before)


def test_the_checksum_is_the_one_that_the_standards_print():
    digits = b"123456789"
    assert checksum.crc32(digits) == 0xCBF43926
    zeros = bytes(32 * 1024 - len(digits))
    assert checksum.crc32(digits, checksum.crc32(zeros)) == zlib.crc32(zeros + digits)


def test_a_large_buffer_that_is_written_to_is_read_too():
    buffer = bytearray(range(256)) * 4096
    assert checksum.crc32(memoryview(buffer)) == zlib.crc32(buffer)


def test_a_checksum_that_is_wrong_is_noticed():
    assert checksum.agrees_with_zlib(zlib.crc32)
    assert not checksum.agrees_with_zlib(lambda octets, before: zlib.crc32(octets, before) ^ (len(octets) == 79))
