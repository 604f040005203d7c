"""Products of ciphertexts with a convolution's weights, the sums of all input polynomials, output by output.

Where the processor multiplies 52-bit integers side by side, `integer_products.c` makes them for all primes at once; the
kernels in double precision do it elsewhere, prime by prime. Both give the same residues.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....native.backend import require
from ....native.library import EXACT_OPTIONS, Signatures, address
from .conv_packing import ConvPacking, pack_convolution
from .modulus import MODULI, Modulus
from .polynomials import BLOCKS, DEGREE, LANES, Prime

_SOURCE = Path(__file__).with_name("integer_products.c")
#: Coefficients that one block has, and of the blocks of a pass and of the inputs that it sums, uint64 with their unused
#: line; as `integer_products.c` has them.
_ROWS = DEGREE // BLOCKS
_WORKING_WORDS = 16 * 4 * (_ROWS * LANES + 8)
_LINE_OCTETS = 64


def parts_of(polynomials: int) -> list[range]:
    """Polynomials that are worked on side by side; each part is sent as soon as it is there."""
    return [range(start, min(polynomials, start + LANES)) for start in range(0, polynomials, LANES)]


def all_products(
    packing: ConvPacking, modulus: Modulus, weights: np.ndarray, ciphertexts: np.ndarray
) -> Iterator[tuple[range, np.ndarray]]:
    """Sums of products of all output polynomials, part by part: the next ones are made while these are finished.

    Args:
        packing: of the convolution.
        modulus: q.
        weights: arranged, uint32 [O, C, taps].
        ciphertexts: transformed, float64 [held, inputs, 2, primes, DEGREE].

    Yields: which output polynomials, and their sums, float64 [held, 2, primes, DEGREE, LANES], good until the next but
    one.
    """
    parts = parts_of(packing.output_polynomials)
    memory = np.empty((min(2, len(parts)), len(ciphertexts), 2, modulus.count, DEGREE, LANES))
    operands = packing, modulus, weights, ciphertexts
    kernels = integer_kernels()
    way = IntegerProducts(kernels, *operands) if kernels.integer_accelerated() else RealProducts(*operands)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(way.sums, parts[0], memory[0])
        for place, part in enumerate(parts):
            sums = running.result()
            if place + 1 < len(parts):
                running = pool.submit(way.sums, parts[place + 1], memory[(place + 1) % 2])
            yield part, sums


class RealProducts:
    """In double precision."""

    def __init__(self, packing: ConvPacking, modulus: Modulus, weights: np.ndarray, ciphertexts: np.ndarray) -> None:
        self._sizes, self._taps = packing.weight_layout()
        self._modulus = modulus
        self._weights, self._ciphertexts = weights, ciphertexts

    def sums(self, outputs: range, sums: np.ndarray) -> np.ndarray:
        """The sums of at most LANES output polynomials into `sums`, which is returned."""
        held, inputs, _, count, _ = self._ciphertexts.shape
        sums.fill(0)
        for index, prime in enumerate(self._modulus.tables):
            # from this prime's residues on, the kernel finds the others by their distances
            operands = self._ciphertexts.reshape(-1)[index * DEGREE :], sums.reshape(-1)[index * DEGREE * LANES :]
            layout = self._sizes, self._weights, self._taps
            prime.convolve(*layout, outputs, operands[0], inputs, held, count, operands[1])
        return sums


class _Table(ctypes.Structure):
    """`table` of the kernels."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("roots", "ratios", "corners")),
        *((name, ctypes.c_uint64) for name in ("value", "negative", "inverse")),
    )

    @staticmethod
    def of(prime: Prime) -> _Table:
        """Of a prime, whose tables stay where they are."""
        inverse = pow(prime.value, -1, 1 << 52)
        return _Table(*map(address, prime.integer_tables), prime.value, (1 << 52) - prime.value, inverse)


@dataclass(frozen=True)
class _Entries:
    """`layout` of the kernels: coefficients that weights may have, those together that differ by multiples of _ROWS."""

    rows: np.ndarray
    counts: np.ndarray
    blocks: np.ndarray
    entries: np.ndarray

    @staticmethod
    @functools.lru_cache(maxsize=256)
    def of(packing: ConvPacking) -> _Entries:
        """Of all weights that a polynomial may hold, by place, channel and tap."""
        sizes, taps = packing.weight_layout()
        inputs, outputs, pixels, offset = sizes[5:]
        blocks = np.arange(outputs)[:, None] * inputs - np.arange(inputs)
        coefficients = (offset + blocks[:, :, None] * pixels - taps).reshape(-1)
        found = np.bincount(coefficients % _ROWS, minlength=_ROWS)
        rows = np.argsort(found, kind="stable")
        places = np.empty(_ROWS, np.int64)
        places[rows] = np.arange(_ROWS)
        order = np.argsort(places[coefficients % _ROWS], kind="stable")
        entries = np.empty(len(order), np.int32)
        entries[order] = np.arange(len(order))
        counts = found[rows].astype(np.uint16)
        return _Entries(rows.astype(np.uint16), counts, (coefficients[order] // _ROWS).astype(np.uint8), entries)


class _Layout(ctypes.Structure):
    """`layout` of the kernels."""

    _fields_ = (
        ("size", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("rows", "counts", "blocks", "entries")),
    )


class IntegerProducts:
    """In integers, for all primes at once."""

    def __init__(
        self,
        kernels: ctypes.CDLL,
        packing: ConvPacking,
        modulus: Modulus,
        weights: np.ndarray,
        ciphertexts: np.ndarray,
    ) -> None:
        self._kernels = kernels
        self._sizes, self._entries = packing.weight_layout()[0], _Entries.of(packing)
        self._tables = (_Table * modulus.count)(*map(_Table.of, modulus.tables))
        self._weights, self._ciphertexts = weights, ciphertexts
        inputs, size = ciphertexts.shape[1], len(self._entries.entries)
        self._arranged, self._used = np.empty((inputs, size, LANES), np.int32), np.empty(inputs, np.int32)
        whole = np.empty(8 * _WORKING_WORDS + _LINE_OCTETS, np.uint8)
        self._blocks = whole[-whole.ctypes.data % _LINE_OCTETS :]
        arrays = self._entries.rows, self._entries.counts, self._entries.blocks, self._entries.entries
        self._layout = _Layout(size, *map(address, arrays))

    def sums(self, outputs: range, sums: np.ndarray) -> np.ndarray:
        """The sums of at most LANES output polynomials into `sums`, which is returned."""
        held, inputs, _, count, _ = self._ciphertexts.shape
        self._kernels.integer_convolve(
            *(address(self._sizes), ctypes.byref(self._layout), address(self._weights), outputs.start, outputs.stop),
            *(address(self._ciphertexts), inputs, held, self._tables, count, address(sums)),
            *(address(self._arranged), address(self._used), address(self._blocks)),
        )
        return sums


_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_SIGNATURES: Signatures = {
    "integer_accelerated": (ctypes.c_int, []),
    "integer_convolve": (
        None,
        [*(_POINTER,) * 3, _SIZE, _SIZE, _POINTER, _SIZE, _SIZE, _POINTER, _SIZE, *(_POINTER,) * 4],
    ),
}


@functools.cache
def integer_kernels() -> ctypes.CDLL:
    """The compiled kernels.

    Raises:
        Refusal: they cannot be compiled here, or compute wrongly.
    """
    return require(_SOURCE, EXACT_OPTIONS, _SIGNATURES, _agrees, "two-party preprocessing")


def _agrees(library: ctypes.CDLL) -> bool:
    """Whether sums in integers are those in double precision, of some inputs and for every prime."""
    if not library.integer_accelerated():
        return True
    generator = np.random.default_rng(0)
    packing = pack_convolution((80, 8, 8), (8, 80, 3, 3), (1, 1), (1, 1, 1, 1), 1, (8, 8))
    weights = generator.integers(0, 2**32, (8, 80, 9), np.uint32)
    for modulus in (MODULI[0], MODULI[-1]):
        ciphertexts = np.stack(
            [
                generator.integers(-(prime // 2), prime // 2 + 1, (1, packing.input_polynomials, 2, DEGREE))
                for prime in modulus.values
            ],
            axis=3,
        ).astype(float)
        operands = packing, modulus, weights, ciphertexts
        both = np.empty((2, 1, 2, modulus.count, DEGREE, LANES))
        IntegerProducts(library, *operands).sums(range(2), both[0])
        RealProducts(*operands).sums(range(2), both[1])
        difference = both[0] - both[1]
        for index, prime in enumerate(modulus.values):
            if np.fmod(difference[:, :, index], prime).any():
                return False
    return True
