"""Whether the rates that a device file claims fit the chip: an estimate from synthesised blocks, not an implementation.

Costs per unit of rate come from yosys synthesis for UltraScale+: a 32x32-bit product mod 2^32 in two DSP blocks inside
a tile of 64 products (128 DSP, 5.8 to 7.3 k LUT), a square unit of four lanes and four word operations each (24 DSP,
604 LUT), an AES-128 core of one block per cycle (7.8 k LUT). The comparison kernel's word operation is assumed to take
64 LUT. Usable are 80 % of the DSP blocks and 70 % of the look-up tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..devices import Device

USABLE_DSP, USABLE_LUT = 0.8, 0.7
#: (DSP blocks, look-up tables) per operation or block per cycle.
UNIT_COSTS = {
    "array_multiplications_per_cycle": (2.0, 100.0),
    "alu_operations_per_cycle": (1.5, 38.0),
    "comparator_operations_per_cycle": (0.0, 64.0),
    "aes_blocks_per_cycle": (0.0, 7800.0),
}


@dataclass(frozen=True)
class Resources:
    """Estimated use of a chip by the kernels alone, as counts and as shares of the whole chip."""

    dsp_blocks: float
    luts: float
    dsp_share: float
    lut_share: float

    @property
    def fits(self) -> bool:
        return self.dsp_share <= USABLE_DSP and self.lut_share <= USABLE_LUT


def kernel_resources(device: Device) -> Resources:
    """Estimate what the kernels of this device take."""
    rates = device.constants()
    dsp_blocks = sum(rates[key] * dsp for key, (dsp, _) in UNIT_COSTS.items())
    luts = sum(rates[key] * lut for key, (_, lut) in UNIT_COSTS.items())
    return Resources(dsp_blocks, luts, dsp_blocks / device.dsp_blocks, luts / device.luts)
