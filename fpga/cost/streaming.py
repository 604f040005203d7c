"""Clock cycles of the kernels that take words or bit planes from streams, one bus word per cycle.

Every formula counts from the first word in to the last word out without stalls and agrees with the verilated module of
the same name (`fpga/hls/rtl`). Counts are for one unit; `units` of them share the work.
"""

from __future__ import annotations

BUS_BITS = 128
#: Cycles from a bus word in to its bus word out.
SQUARE_STAGES, WIDE_SQUARE_STAGES, TRUNCATE_STAGES, AND_STAGES = 4, 5, 3, 1
#: From the last bit of the first digit to its first leaf, beside the planes of the one-hot word.
LEAF_STAGES = 1


def elementwise_cycles(elements: int, units: int = 1, word_bits: int = 32, stages: int = 0) -> int:
    """Elements of `word_bits` through units that take a bus word of each stream per cycle."""
    return streamed(elements * word_bits, units) + stages


def plane_cycles(elements: int, planes: int, units: int = 1, stages: int = 0) -> int:
    """Bit planes of `elements` elements, a block of `BUS_BITS` elements of one plane per cycle."""
    return -(-(-(-elements // BUS_BITS) * planes) // units) + stages


def streamed(bits: int, units: int) -> int:
    """Bus words that the busiest of the units takes."""
    return -(-bits // (BUS_BITS * units))


def digit_compare_cycles(elements: int, digit_bits: tuple[int, ...]) -> int:
    """Leaves of `elements` comparisons on one unit: the bits of a digit are fetched while the digit before is compared.

    A digit takes a plane per value of its one-hot word; its leaves leave while the next digit is compared.
    """
    blocks = -(-elements // BUS_BITS)
    values = sum(2**bits for bits in digit_bits)
    last_leaves = 2 if len(digit_bits) > 1 else 1
    return digit_bits[0] + LEAF_STAGES + blocks * values + last_leaves
