"""How a protocol runs on the accelerator: its number there, its messages, and the host's program beside the fabric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..program import Program
from ..program.operands import OperandTable, ProtocolNumber
from .party import BatchMaterial, Channel, PartyProgram


class Board(Protocol):
    """One party's accelerator and its memory, as the host's program sees them."""

    table: OperandTable
    #: Key of this party's part of the weight masks, which the chip expands itself.
    weight_key: bytes
    #: Keys of the hash of comparison functions, of the tree and of the leaves, where the protocol has them.
    hash_keys: tuple[bytes, bytes]

    def put(self, address: int, words: np.ndarray) -> None:
        """Write uint32 words to bus word `address`."""

    def put_biases(self, program: Program, weight_shares: Mapping[str, np.ndarray]) -> None:
        """Write this party's shares of all biases."""

    def run(self, share: np.ndarray, image_key: bytes, corrections: Sequence[np.ndarray]) -> np.ndarray:
        """Share of one image's result, flat uint32, from its share."""


@dataclass(frozen=True)
class AcceleratorLayout:
    """What the accelerator and its host do for a protocol.

    Attributes:
        number: by which operands.bin names the protocol.
        comparison_planes: bit planes of a comparison's exchanges, in order; 0 stands for words.
        host: makes the host's program of party `number`.
    """

    number: ProtocolNumber
    comparison_planes: tuple[int, ...]
    host: Callable[[int, Program, Channel, Board], PartyProgram]


def image_material(program: Program, material: BatchMaterial) -> list[tuple[bytes, list[np.ndarray]]]:
    """Per image its key and the dealer's corrections of every operation."""
    keys = material.source(0).keys
    dealt = [material.corrections(index).buffers for index in range(len(program.operations))]
    return [(key, [buffers[image] for buffers in dealt]) for image, key in enumerate(keys)]
