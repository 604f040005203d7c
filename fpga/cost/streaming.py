"""Clock cycles of the kernels that take words or bit planes from streams, one bus word per cycle.

Every formula counts from the first word in to the last word out without stalls and agrees with the verilated module of
the same name (`fpga/hls/rtl`). Counts are for one unit; `units` of them share the work.
"""

from __future__ import annotations

import math

BUS_BITS = 128
#: Cycles from a bus word in to its bus word out.
SQUARE_STAGES, WIDE_SQUARE_STAGES, TRUNCATE_STAGES, AND_STAGES = 4, 5, 3, 1
#: Whitening and ten rounds; the eleven round keys come once for each key.
AES_STAGES, AES_KEY_WORDS = 11, 11
#: The lowest digit's three bits, one step, and the last digit's two leaves, which nothing hides.
LEAF_STAGES = 6


def elementwise_cycles(elements: int, units: int = 1, word_bits: int = 32, stages: int = 0) -> int:
    """Elements of `word_bits` through units that take a bus word of each stream per cycle."""
    return streamed(elements * word_bits, units) + stages


def plane_cycles(elements: int, planes: int, units: int = 1, stages: int = 0) -> int:
    """Bit planes of `elements` elements, a block of `BUS_BITS` elements of one plane per cycle."""
    return -(-(-(-elements // BUS_BITS) * planes) // units) + stages


def streamed(bits: int, units: int) -> int:
    """Bus words that the busiest of the units takes."""
    return -(-bits // (BUS_BITS * units))


def expansion_cycles(bits: float, cores: int) -> int:
    """Keystream of an expanded key that a kernel takes while it works, of cores that make a block per cycle."""
    return AES_STAGES + math.ceil(bits / (BUS_BITS * cores)) if bits else 0


def aes_cycles(blocks: int, cores: int = 1) -> int:
    """AES-128 blocks on cores that take one per cycle, with the loading of one key."""
    return AES_KEY_WORDS + AES_STAGES + -(-blocks // cores)
