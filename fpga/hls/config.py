"""The accelerator's constants for one device, as a C++ header: parallelism and sizes of its memories.

python -m rrnet_nni.fpga.hls.config zcu104-rrnet > rrnet_config.h
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rrnet_nni.base.console import Parser, add_common_options, run_command

from ..cost.array import KERNEL, SIDE, STRIDES
from ..cost.budget import MAX_BANDS, MAX_TILES
from ..devices import Device, load_device

#: Taps of a convolution's kernel.
MAX_TAPS = 1 << 10
#: Channels of a tile of the array where a device says nothing of tiles.
TILE_CHANNELS = 8


def config_header(device: Device) -> str:
    """rrnet_config.h of a device."""
    array, alu, aes = (
        (device.array_multiplications_per_cycle, device.alu_operations_per_cycle, device.aes_blocks_per_cycle)
        if device.accelerator is None
        else device.accelerator.lanes
    )
    accelerator = device.accelerator
    constants = {
        "RRNET_CLOCK_HZ": int(device.clock_hz),
        "RRNET_BUFFER_BYTES": int(device.buffer_bytes) // 64 * 64,
        "RRNET_ARRAY_TILES": max(1, int(array) // TILE_CHANNELS**2) if accelerator is None else accelerator.array_tiles,
        "RRNET_TILE_INPUTS": TILE_CHANNELS if accelerator is None else accelerator.tile_inputs,
        "RRNET_TILE_OUTPUTS": TILE_CHANNELS if accelerator is None else accelerator.tile_outputs,
        "RRNET_DEPTHWISE": 1 if accelerator is None else accelerator.depthwise,
        "RRNET_BLOCK_SIDE": SIDE,
        "RRNET_BLOCK_KERNEL": KERNEL,
        "RRNET_BLOCK_STRIDE": max(STRIDES),
        "RRNET_ALU_LANES": max(1, int(alu)),
        "RRNET_AES_CORES": max(1, int(aes)),
        "RRNET_MAX_TILES": MAX_TILES,
        "RRNET_MAX_BANDS": MAX_BANDS,
        "RRNET_MAX_TAPS": MAX_TAPS,
    }
    lines = [
        f"// The accelerator on {device.name}. Generated from its device file (fpga/hls/config.py); do not edit.",
        "#ifndef RRNET_CONFIG_H",
        "#define RRNET_CONFIG_H",
        "",
        *(f"#define {name} {value}" for name, value in constants.items()),
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def make_parser() -> Parser:
    parser = Parser(prog="python -m rrnet_nni.fpga.hls.config", description=__doc__)
    parser.add_argument("device", help="a device's name, or its .yaml")
    add_common_options(parser, json_output=False)
    return parser


def run(options: argparse.Namespace) -> None:
    print(config_header(load_device(options.device)), end="")


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(make_parser(), run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
