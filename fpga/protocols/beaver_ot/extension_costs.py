"""`beaver-ot` without a dealer for its comparisons: cost models of the two ways to make the oblivious transfers.

`beaver-ot-extension` extends 128 base OTs while it compares, as CrypTFlow2 does: every (2^m,1)-OT costs 2λ bits, which
is most of the traffic. `beaver-ot-silent` expands them from short seeds beforehand (VOLE, Ferret), so that only what
`beaver-ot` sends is left, and a fraction of a bit per OT. Linear products are as in `beaver-ot`.

With q = ceil((l - 1) / m) digits, M = 2^m, k = ceil(log2 q), per comparison and both parties together:

    MILL = λ(4q − k − 2) + M(2q − 1) + 22(q − 1) − 2k        multiplexer = 2(λ + l)          [bits]
"""

from __future__ import annotations

from typing import ClassVar

from ...cost.kernels import aes_compute, alu_compute
from ...cost.protocol import Exchange, Phase
from ...devices import Device
from ...program.operators import MaxPool, OperatorShape, Relu, Select
from ..shared.and_tree import AND_OPENED_PLANES
from ..shared.pool_tree import comparison_counts
from .costs import BeaverOT

SECURITY_BITS = 128  # λ
RING_BITS = 32  # l
DIGIT_BITS = 4  # m
DIGITS = -(-(RING_BITS - 1) // DIGIT_BITS)  # q = 8
TABLE = 2**DIGIT_BITS  # M = 16
LEVELS = (DIGITS - 1).bit_length()  # k = 3

#: The receiver's columns of the extension: 2λ per leaf and per pair of ANDs, λ less where a level has a single AND.
RECEIVER_BITS = SECURITY_BITS * (2 * DIGITS + 2 * (DIGITS - 1) - LEVELS)
#: The sender's tables: two bits per entry of a leaf (one for the lowest digit), 16 bits per pair of ANDs.
SENDER_BITS = TABLE * (2 * DIGITS - 1) + 16 * (DIGITS - 1)
#: Hashes per comparison: every entry of every table and the receiver's own.
HASHES = (2 * DIGITS - 1) * (TABLE + 1) + 2

#: Random OTs behind one comparison: one per bit of the digits, two per AND gate, two of the multiplexer.
RANDOM_OTS = (RING_BITS - 1) + 2 * (2 * (DIGITS - 1) - LEVELS) + 2
#: Traffic of a silent extension; 0.75 bit brings the ReLU of 32 bits to the 49 B that is measured for Cheetah.
SILENT_BITS_PER_OT = 0.75


class OtExtension(BeaverOT):
    """Comparison by OT extension on demand: nothing beforehand, 520 B per ReLU."""

    name: ClassVar[str] = "beaver-ot-extension"
    executable: ClassVar[bool] = False

    def phases(self, shape: OperatorShape, device: Device, batch: int = 1) -> tuple[Phase, ...]:
        if not isinstance(shape, Relu | Select | MaxPool):
            return super().phases(shape, device, batch)
        levels = comparison_counts(shape, batch)
        chosen = tuple(_chosen(batch * (shape.elements - shape.signs), device)) if isinstance(shape, Select) else ()
        return chosen + tuple(phase for count in levels for phase in _extended_comparison(count, device))

    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        return (0, 0) if isinstance(shape, Relu | Select | MaxPool) else super().offline_bytes(shape, batch)


class SilentOt(BeaverOT):
    """Comparison with OTs expanded from seeds: the messages of `beaver-ot`, almost nothing beforehand."""

    name: ClassVar[str] = "beaver-ot-silent"
    executable: ClassVar[bool] = False

    def offline_bytes(self, shape: OperatorShape, batch: int = 1) -> tuple[int, int]:
        if not isinstance(shape, Relu | Select | MaxPool):
            return super().offline_bytes(shape, batch)
        received = round(sum(comparison_counts(shape, batch)) * RANDOM_OTS * SILENT_BITS_PER_OT / 8)
        return (received // 2, received - received // 2)


def _chosen(elements: int, device: Device) -> tuple[Phase, ...]:
    """Further words that signs choose."""
    return Exchange((_bytes(RING_BITS * elements),) * 2), alu_compute(4 * elements, device)


def _extended_comparison(count: int, device: Device) -> tuple[Phase, ...]:
    """The rounds of `beaver-ot` with the extension's columns and tables in the first two."""
    openings = tuple(Exchange((_bytes(bits * count), _bytes(bits * count))) for bits in AND_OPENED_PLANES)
    return (
        Exchange((0, _bytes(RECEIVER_BITS * count))),
        aes_compute(HASHES * count, device),
        Exchange((_bytes(SENDER_BITS * count), 0)),
        *openings,
        Exchange((_bytes(SECURITY_BITS * count), _bytes(SECURITY_BITS * count))),
        alu_compute(4 * count, device),
        Exchange((_bytes(RING_BITS * count), _bytes(RING_BITS * count))),
    )


def _bytes(bits: int) -> int:
    return -(-bits // 8)
