"""What the accelerator of a device takes of its chip: a budget that must add up before anything is scheduled on it.

DSP blocks and look-up tables per block are yosys estimates of `fpga/hls/rtl` for UltraScale+ (`benchmarks/
rtl_resources.py`, `docs/results/rtl_resources.json`); block RAM is computed from the memories' shapes, because yosys
counts them unreliably. What has no Verilog here (interfaces, dispatcher, adders) is assumed, and marked so. Nothing of
this is an implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rrnet_nni.base.errors import Refusal

from ..devices import Accelerator, Device
from .resources import USABLE_DSP, USABLE_LUT, Resources, kernel_resources

USABLE_MEMORY = 0.8
URAM_BYTES = 36_864
#: A 36-Kbit block as 512 words of this width.
BRAM_DEPTH, BRAM_BITS = 512, 72
WORD_BITS = 32
#: Row memories of a tile: a kernel's rows are read at the same time. Two blocks of 6 rows of 17 pixels fill 204 words.
TILE_ROW_MEMORIES, TILE_ROW_DEPTH = 3, 512


@dataclass(frozen=True)
class BlockCost:
    """One instance of a block; `known` is "yosys" or "assumed"."""

    dsp: int
    luts: int
    known: str


#: Modules of fpga/hls/rtl as synthesised, and what is assumed.
SYNTHESISED: dict[str, BlockCost] = {
    "conv_tile": BlockCost(128, 8560, "yosys"),
    "beaver_square": BlockCost(8, 694, "yosys"),
    "wide_square": BlockCost(12, 939, "yosys"),
    "truncate": BlockCost(0, 1508, "yosys"),
    "digit_compare": BlockCost(0, 785, "yosys"),
    "aes128": BlockCost(0, 8428, "yosys"),
    "bit_and": BlockCost(0, 130, "yosys"),
}
#: Masking, adding and selecting of four words per cycle; splitting words into planes.
ADDERS = BlockCost(0, 800, "assumed")
PLANE_SPLITTER = BlockCost(0, 1500, "assumed")
#: Beside an AES core: the exclusive ors of a level of a comparison function. 128 nodes and corrections of 128 bits.
FUNCTION_LEVEL = BlockCost(0, 450, "assumed")
FUNCTION_BRAM = 2 * -(-128 // BRAM_BITS)
#: Four memory ports, the network interface, the instruction fetch and seven queues.
INTERFACES = BlockCost(0, 16_000, "assumed")
INTERFACE_BRAM = 40
#: Tiles and bands of weights that one program may have, and octets of the record of each on the chip.
MAX_TILES, MAX_BANDS = 1 << 14, 1 << 12
TILE_RECORD_BYTES, BAND_RECORD_BYTES, BRAM_BYTES = 12, 5, 4608


@dataclass(frozen=True)
class BudgetLine:
    """All instances of one kind of block."""

    block: str
    count: int
    dsp: int
    luts: int
    bram: int
    uram: int
    known: str


@dataclass(frozen=True)
class Budget:
    """The lines, and per resource what they need, what may be used and what the chip has."""

    lines: tuple[BudgetLine, ...]
    needs: dict[str, int]
    usable: dict[str, int]
    available: dict[str, int]

    @property
    def exceeded(self) -> str:
        """The first resource that does not suffice; empty if all do."""
        return next((name for name in self.needs if self.needs[name] > self.usable[name]), "")

    def to_dict(self) -> dict[str, Any]:
        """For report.json."""
        totals = {
            name: {"needs": self.needs[name], "usable": self.usable[name], "available": self.available[name]}
            for name in self.needs
        }
        return {"totals": totals, "blocks": [asdict(line) for line in self.lines], "fits": not self.exceeded}


def device_budget(device: Device) -> Budget:
    """The budget of a device: block by block where it has an accelerator, else estimated from its rates."""
    if device.accelerator is None:
        used = kernel_resources(device)
        lines: Sequence[BudgetLine] = (
            BudgetLine("kernels at the device's rates", 1, round(used.dsp_blocks), round(used.luts), 0, 0, "assumed"),
        )
        return _budget(lines, {"dsp": device.dsp_blocks, "luts": device.luts, "bram": device.bram_blocks})
    chip = {"dsp": device.dsp_blocks, "luts": device.luts, "bram": device.bram_blocks}
    return _budget(
        accelerator_lines(device.accelerator, device.buffer_bytes), chip | {"uram": device.accelerator.uram_blocks}
    )


def chip_use(device: Device) -> Resources:
    """DSP blocks and look-up tables of the budget, as counts and shares of the chip."""
    budget = device_budget(device)
    dsp, luts = budget.needs["dsp"], budget.needs["luts"]
    return Resources(dsp, luts, dsp / device.dsp_blocks, luts / device.luts)


def check_budget(device: Device) -> Budget:
    """The budget of a device that fits its chip.

    Raises:
        Refusal: it does not; names the resource, what is needed and what may be used.
    """
    budget = device_budget(device)
    if name := budget.exceeded:
        raise Refusal(
            f"device {device.name!r} needs {budget.needs[name]:,} {NAMES[name]}, but only {budget.usable[name]:,} of "
            f"its {budget.available[name]:,} can be used"
        )
    return budget


NAMES = {"dsp": "DSP blocks", "luts": "look-up tables", "bram": "block RAMs (36 Kbit)", "uram": "UltraRAMs"}
_USABLE = {"dsp": USABLE_DSP, "luts": USABLE_LUT, "bram": USABLE_MEMORY, "uram": USABLE_MEMORY}


def _budget(lines: Sequence[BudgetLine], chip: dict[str, int]) -> Budget:
    needs = {name: sum(getattr(line, name) for line in lines) for name in chip}
    usable = {name: int(_USABLE[name] * count) for name, count in chip.items()}
    return Budget(tuple(lines), needs, usable, chip)


def accelerator_lines(accelerator: Accelerator, buffer_bytes: int) -> tuple[BudgetLine, ...]:
    """Every block of the accelerator; a tile of another size is scaled from the synthesised 8 x 8."""
    scale = accelerator.tile_outputs * accelerator.tile_inputs / 64
    tile = SYNTHESISED["conv_tile"]
    scaled = BlockCost(round(scale * tile.dsp), round(scale * tile.luts), tile.known)
    units, compares = accelerator.alu_units, accelerator.compare_units
    uram = -(-buffer_bytes // URAM_BYTES)
    return (
        _line("convolution tile", accelerator.array_tiles, scaled, tile_bram(accelerator.tile_inputs)),
        _line("square", units, SYNTHESISED["beaver_square"]),
        _line("wide square", units, SYNTHESISED["wide_square"]),
        _line("truncation", units, SYNTHESISED["truncate"]),
        _line("masking, adding, selecting", units, ADDERS),
        _line("comparison leaves", compares, SYNTHESISED["digit_compare"]),
        _line("AND of bits", compares, SYNTHESISED["bit_and"]),
        _line("words to bit planes", compares, PLANE_SPLITTER),
        _line("AES-128 core", accelerator.aes_cores, SYNTHESISED["aes128"]),
        _line("comparison functions", accelerator.aes_cores, FUNCTION_LEVEL, FUNCTION_BRAM),
        _line("interfaces and dispatcher", 1, INTERFACES, INTERFACE_BRAM),
        BudgetLine("records of tiles and bands", 1, 0, 0, record_bram(), 0, "computed"),
        BudgetLine("tile and weight buffers", 1, 0, 0, 0, uram, "computed"),
    )


def tile_bram(inputs: int) -> int:
    """Block RAMs of one tile's row memories; weights, sums and output lie in look-up tables."""
    return TILE_ROW_MEMORIES * -(-TILE_ROW_DEPTH // BRAM_DEPTH) * -(-WORD_BITS * inputs // BRAM_BITS)


def record_bram() -> int:
    """Block RAMs of the dispatcher's records."""
    sizes = MAX_TILES * TILE_RECORD_BYTES, MAX_BANDS * BAND_RECORD_BYTES
    return sum(-(-size // BRAM_BYTES) for size in sizes)


def _line(name: str, count: int, block: BlockCost, bram: int = 0) -> BudgetLine:
    return BudgetLine(name, count, count * block.dsp, count * block.luts, count * bram, 0, block.known)
