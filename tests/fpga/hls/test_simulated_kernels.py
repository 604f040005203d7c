"""The accelerator's cryptographic kernels in C simulation: published vectors, and the software's own."""

import subprocess

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.hls.simulator import build_simulator, find_cxx
from rrnet_nni.fpga.protocols.masked.comparison_functions import functions, hash_keys

pytestmark = pytest.mark.skipif(find_cxx() is None, reason="there is no C++ compiler for the accelerator's sources")


def vectors(lines: list[str]) -> list[str]:
    program = build_simulator(load_device("zcu104"), "vectors")
    finished = subprocess.run([program], input="\n".join(lines), capture_output=True, text=True, check=True)
    return finished.stdout.split()


def test_aes_is_that_of_fips_197() -> None:
    lines = [
        "block 000102030405060708090a0b0c0d0e0f 00112233445566778899aabbccddeeff",
        "block 2b7e151628aed2a6abf7158809cf4f3c 3243f6a8885a308d313198a2e0370734",
    ]
    assert vectors(lines) == ["69c4e0d86a7b0430d8cdb78070b4c55a", "3925841d02dc09fbdc118597196a0b32"]


@settings(max_examples=20, deadline=None)
@given(
    key=st.binary(min_size=16, max_size=16),
    operation=st.integers(0, 2**32),
    first=st.integers(0, 500),
    count=st.integers(1, 200),
)
def test_a_keystream_can_be_read_from_anywhere(key: bytes, operation: int, first: int, count: int) -> None:
    cipher = Cipher(algorithms.AES(key), modes.CTR(operation.to_bytes(8, "big") + bytes(8))).encryptor()
    expected = cipher.update(bytes(first + count))[first:]
    assert vectors([f"stream {key.hex()} {operation} {first} {count}"]) == [expected.hex()]


@settings(max_examples=5, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(-200, 200)), min_size=4, max_size=16),
    st.integers(0, 2**64),
)
def test_comparison_functions_are_those_of_the_software(cases: list[tuple[int, int]], seed: int) -> None:
    """Points anywhere and close to the threshold; both keys, and their shares add up to the comparison."""
    thresholds = np.array([threshold for threshold, _ in cases], np.uint32)
    points = np.array([(threshold + step) % 2**31 for threshold, step in cases], np.uint32)
    roots = np.random.default_rng(seed).integers(0, 2**64, (2, len(cases), 2), dtype=np.uint64)
    roots[0, :, 0] &= ~np.uint64(1)
    roots[1, :, 0] |= np.uint64(1)
    keys = hash_keys(seed.to_bytes(16, "big"))
    corrections = functions().generate(thresholds, (roots[0], roots[1]), keys)
    named = f"{keys[0].hex()} {keys[1].hex()}"
    lines = [
        f"compare {root[i].tobytes().hex()} {named} {corrections[:, i].tobytes().hex()} {points[i]}"
        for root in roots
        for i in range(len(cases))
    ]
    found = np.array(vectors(lines), np.uint8).reshape(2, -1)
    expected = [functions().evaluate(points, root, corrections, keys) for root in roots]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[0] ^ found[1], points < thresholds)
