"""Square, truncation, comparison and AND in Verilog compute what the protocols' own code computes, in as many cycles
as the formulas say."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from helpers.rtl_simulators import needs_verilator, simulator

from rrnet_nni.fpga.cost import streaming
from rrnet_nni.fpga.hls.rtl.modules import (
    AES128,
    BEAVER_SQUARE,
    BIT_AND,
    DIGIT_COMPARE,
    TRUNCATE,
    WIDE_SQUARE,
    RtlModule,
)
from rrnet_nni.fpga.hls.rtl.simulator import Run
from rrnet_nni.fpga.protocols.beaver_ot.products import BeaverSquare, Truncation
from rrnet_nni.fpga.protocols.masked.costs import ONEHOT_PLANES
from rrnet_nni.fpga.protocols.masked.masks import Lifting
from rrnet_nni.fpga.protocols.masked.numpy_kernels import NumpyKernels
from rrnet_nni.fpga.protocols.shared.bit_planes import word_planes
from rrnet_nni.fpga.protocols.shared.digit_planes import CHOICE_PLANES, DIGIT_BITS

MASKED = NumpyKernels()
RANDOM = np.random.default_rng(8)
SIZES = (4, 8, 60, 1000)
STALLS = [0, *((25, 128, 230)[seed % 3] for seed in range(1, 1000))]


def words(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 2**32, shape, dtype=np.uint32)


def check(
    module: RtlModule,
    case: Callable[[int], tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]],
    cycles: Callable[[int], int],
    sizes: tuple[int, ...] = SIZES,
) -> None:
    """Every size without stalls in exactly the cycles of the formula, then 999 seeds of stalls with the right words."""
    cases = [case(sizes[seed] if seed < len(sizes) else sizes[1]) for seed in range(len(STALLS))]
    bus = module.output[1]
    runs = [
        Run(streams, expected.view(np.uint32).size // bus, pins, 0 if seed < len(sizes) else stalls, seed + 1)
        for seed, ((streams, pins, expected), stalls) in enumerate(zip(cases, STALLS))
    ]
    for seed, ((_, pins, expected), outcome) in enumerate(zip(cases, simulator(module).run(runs), strict=True)):
        assert outcome.status == "done", (seed, pins)
        np.testing.assert_array_equal(outcome.words, expected.view(np.uint32).ravel(), err_msg=str((seed, pins)))
        if seed < len(sizes):
            assert outcome.cycles == cycles(sizes[seed])


class _Peer:
    """A link whose other end sends these words."""

    def __init__(self, sent: np.ndarray) -> None:
        self.sent = sent

    def exchange(self, outgoing: np.ndarray | None, incoming_bytes: int) -> np.ndarray:
        return np.ascontiguousarray(self.sent).view(np.uint8).ravel()


class _Given:
    """Material that is known: the arrays in the order in which they are drawn."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = list(arrays)

    def words(self, *shape: int) -> np.ndarray:
        return self.arrays.pop(0).reshape(1, *shape)


@needs_verilator
def test_the_square_of_beaver_ot() -> None:
    def case(size: int) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
        number = int(RANDOM.integers(2))
        share, a, z, sent = words(1, size), words(size), words(size), words(1, size)
        source, dealt = (_Given(a, z), _Given()) if number == 0 else (_Given(a), _Given(z))
        expected = BeaverSquare.evaluate(number, _Peer(sent), share, source, dealt)
        opened = share - a + sent
        return {"e": opened, "a": a, "z": z}, {"party0": 1 - number, "subtract": 0}, expected

    check(BEAVER_SQUARE, case, lambda size: streaming.elementwise_cycles(size, stages=streaming.SQUARE_STAGES))


@needs_verilator
def test_the_square_of_masked() -> None:
    def case(size: int) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
        number = int(RANDOM.integers(2))
        public, mask, square = words(size), words(size), words(size)
        expected = MASKED.square(number, public, None, mask, (square,))
        return {"e": public, "a": mask, "z": square}, {"party0": 1 - number, "subtract": 1}, expected

    check(BEAVER_SQUARE, case, lambda size: streaming.elementwise_cycles(size, stages=streaming.SQUARE_STAGES))


@needs_verilator
def test_the_wide_square_of_masked() -> None:
    def case(size: int) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
        number = int(RANDOM.integers(2))
        public = RANDOM.integers(-(2**31), 2**31, size, dtype=np.int64).astype(np.uint64)
        mask, square = (RANDOM.integers(0, 2**64, size, dtype=np.uint64) for _ in range(2))
        expected = MASKED.square(number, public, None, mask, (square,))
        streams = {"e": public.view(np.uint32), "a": mask.view(np.uint32), "z": square.view(np.uint32)}
        return streams, {"party0": 1 - number}, expected

    stages = streaming.WIDE_SQUARE_STAGES
    check(WIDE_SQUARE, case, lambda size: streaming.elementwise_cycles(size, word_bits=64, stages=stages))


@needs_verilator
def test_the_truncation_of_beaver_ot() -> None:
    def case(size: int) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
        number, bits = int(RANDOM.integers(2)), int(RANDOM.integers(1, 31))
        share, mask, shifted, top, sent = words(1, size), words(size), words(size), words(size), words(1, size)
        own, dealt = (_Given(mask, shifted, top), _Given()) if number == 0 else (_Given(mask), _Given(shifted, top))
        expected = Truncation.evaluate(number, bits, _Peer(sent), share, own, dealt)
        opened = share + mask + sent + np.uint32(0 if number else 1 << 30)
        return {"m": opened, "u": shifted, "v": top}, {"party0": 1 - number, "dealt_top": 1, "bits": bits}, expected

    check(TRUNCATE, case, lambda size: streaming.elementwise_cycles(size, stages=streaming.TRUNCATE_STAGES))


@needs_verilator
def test_the_truncation_of_masked() -> None:
    def case(size: int) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
        number, bits = int(RANDOM.integers(2)), int(RANDOM.integers(1, 31))
        opened, zero, one = words(size), words(size), words(size)
        expected = MASKED.lift(number, opened, Lifting(bits), (zero, one))
        return {"m": opened, "u": zero, "v": one}, {"party0": 1 - number, "dealt_top": 0, "bits": bits}, expected

    check(TRUNCATE, case, lambda size: streaming.elementwise_cycles(size, stages=streaming.TRUNCATE_STAGES))


def _blocks(planes: np.ndarray) -> np.ndarray:
    """Planes uint8 [1, P, E / 8] as bus words: all planes of 128 elements, then of the next."""
    return np.ascontiguousarray(planes[0].reshape(planes.shape[1], -1, 16).swapaxes(0, 1)).view(np.uint32)


@needs_verilator
def test_the_leaves_of_the_comparison_of_masked() -> None:
    def case(size: int) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
        opened = words(1, size)
        onehot = RANDOM.integers(0, 256, (1, ONEHOT_PLANES, size // 8), dtype=np.uint8)
        planes = word_planes(opened, CHOICE_PLANES)
        expected = _blocks(MASKED.leaves(onehot, planes))
        return {"m": _blocks(planes), "h": _blocks(onehot)}, {"digits": len(DIGIT_BITS) - 1}, expected

    def cycles(size: int) -> int:
        return streaming.plane_cycles(size, ONEHOT_PLANES, stages=streaming.LEAF_STAGES)

    check(DIGIT_COMPARE, case, cycles, (128, 256, 1280))


@needs_verilator
@pytest.mark.parametrize("party0", [0, 1])
def test_the_and_of_shared_bits(party0: int) -> None:
    def case(size: int) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
        d, e, a, b, c = (words(size) for _ in range(5))
        expected = c ^ (d & b) ^ (e & a) ^ (d & e if party0 else np.uint32(0))
        return dict(zip("deabc", (d, e, a, b, c))), {"party0": party0}, expected

    check(BIT_AND, case, lambda size: streaming.elementwise_cycles(size, stages=streaming.AND_STAGES))


def round_keys(key: bytes) -> np.ndarray:
    """The eleven round keys of FIPS 197, Sec. 5.2, uint8 [11, 16]."""
    box = [_sub(value) for value in range(256)]
    schedule, constant = [list(key[4 * i : 4 * i + 4]) for i in range(4)], 1
    while len(schedule) < 44:
        word = list(schedule[-1])
        if len(schedule) % 4 == 0:
            word = [box[value] for value in (*word[1:], word[0])]
            word[0] ^= constant
            constant = _times(2, constant)
        schedule.append([one ^ other for one, other in zip(word, schedule[-4])])
    return np.array(schedule, np.uint8).reshape(11, 16)


def _times(a: int, b: int) -> int:
    """The product in GF(2^8)."""
    product = 0
    for bit in range(8):
        product ^= a if b >> bit & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
    return product


def _sub(value: int) -> int:
    inverse = next((other for other in range(256) if _times(value, other) == 1), 0)
    rotations = (inverse << shift | inverse >> (8 - shift) for shift in range(5))
    return functools.reduce(lambda one, other: one ^ other, rotations) & 0xFF ^ 0x63


@needs_verilator
def test_aes_is_that_of_the_library() -> None:
    keys = {key: round_keys(key).view("<u4") for key in (bytes(range(16)), RANDOM.bytes(16))}

    def case(size: int) -> tuple[dict[str, np.ndarray], dict[str, int], np.ndarray]:
        key = list(keys)[int(RANDOM.integers(2))]
        blocks = words(size)
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        return {"k": keys[key], "b": blocks}, {}, np.frombuffer(encryptor.update(blocks.tobytes()), "<u4")

    check(AES128, case, lambda size: streaming.aes_cycles(size // 4))


def test_two_shares_of_an_and_make_the_and() -> None:
    """The formula of bit_and.v, with dealt shares of both factors and of their product."""
    x, y, a, b, first, second, product = (words(64) for _ in range(7))
    d, e = x ^ a, y ^ b
    zero = product ^ (d & second) ^ (e & first) ^ (d & e)
    one = (a & b) ^ product ^ (d & (b ^ second)) ^ (e & (a ^ first))
    np.testing.assert_array_equal(zero ^ one, x & y)
