"""The parallelism of the accelerator that a device carries: what its RTL is instantiated with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .constants import constant


@dataclass(frozen=True)
class Accelerator:
    """How many of each kernel a device instantiates; cycles follow from the kernels' own formulas.

    `depthwise` = 0 leaves a depthwise convolution to the dense dataflow, where all lanes but one idle.
    """

    array_tiles: int = constant("convolution tiles that work side by side", whole=True)
    tile_outputs: int = constant("output channels of a tile", whole=True)
    tile_inputs: int = constant("input channels of a tile", whole=True)
    depthwise: int = constant("1 if the tiles have the depthwise dataflow, else 0", whole=True, zero=True, at_most=1)
    alu_units: int = constant("elementwise units of four words per cycle", whole=True)
    compare_units: int = constant("comparison units of 128 elements of a bit plane per cycle", whole=True)
    aes_cores: int = constant("AES-128 cores of one block per cycle that expand masks and comparison keys", whole=True)
    store_ports: int = constant("memory ports whose write channels store, beside what they load", whole=True)
    uram_blocks: int = constant("UltraRAM blocks of the chip, which hold the tiles' buffers", whole=True, zero=True)

    @property
    def lanes(self) -> tuple[int, int, int]:
        """Ring multiplications of the array, words of the elementwise units and AES blocks, per cycle."""
        return self.array_tiles * self.tile_outputs * self.tile_inputs, 4 * self.alu_units, self.aes_cores

    def constants(self) -> dict[str, Any]:
        """Every number by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
