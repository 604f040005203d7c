"""From instructions.bin to a waveform: one tile of a product, as the convolution tile in Verilog computes it.

    python -m rrnet_nni.fpga.hls.rtl.waveform build/ -o wave.vcd
    python -m rrnet_nni.fpga.hls.rtl.waveform build/ --operation conv3 --tile 2 -o wave.vcd

Takes the ARRAY instruction of that operation and tile from instructions.bin, its region from tiles.json and the weights
from weights.bin (random words where the build has none), feeds random words as the opened input, and writes a VCD of
the first job: eight output channels of at most 8x8 pixels. The sums are compared with the software's convolution, the
cycles with the formula. GTKWave or Surfer shows the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rrnet_nni.base.console import Parser, add_common_options, run_command
from rrnet_nni.base.errors import ExecutionFault, Refusal

from ...cost.array import SIDE, sequence_cycles
from ...program import ConvOp, LinearOp
from ...program.build import INSTRUCTIONS, TILES, Build, load_build, read_build_file
from ...program.isa import Instruction, Opcode, decode_instructions
from ...program.operators import Conv, Linear
from ...program.shapes import operation_shape
from ...ring import ring_conv2d
from .modules import CONV_TILE
from .simulator import Run, Simulator
from .streams import LANES, conv_streams, place_sums


@dataclass(frozen=True)
class TiledProduct:
    """One ARRAY instruction with what it works on: a convolution of `region` alone, and its weights."""

    instruction: Instruction
    operation: ConvOp | LinearOp
    region: tuple[int, int, int, int]
    conv: Conv
    weights: np.ndarray


def find_product(build: Build, operation: str | None = None, tile: int = 0) -> TiledProduct:
    """The product of this operation (the first one without a name) on this tile.

    Raises:
        Refusal: there is no such product, or it is grouped without being depthwise.
    """
    program = build.program
    where = str(build.path / INSTRUCTIONS)
    instructions = decode_instructions(read_build_file(build.path, INSTRUCTIONS), where)
    names = [item.name for item in program.operations]
    if operation is not None and operation not in names:
        raise Refusal(f"{build.path}: the program has no operation {operation!r}")
    for item in instructions:
        wanted = operation is None or names[item.operation] == operation
        if item.opcode is Opcode.ARRAY and item.tile == tile and wanted:
            return _product(build, item)
    who = "no operation has an" if operation is None else f"operation {operation!r} has no"
    raise Refusal(f"{where}: {who} ARRAY instruction for tile {tile}")


def _product(build: Build, item: Instruction) -> TiledProduct:
    operation = build.program.operations[item.operation]
    shape = operation_shape(operation, build.program)
    assert isinstance(operation, ConvOp | LinearOp)
    if isinstance(shape, Linear):
        conv = Conv(shape.in_features, 1, 1, (1, 1), out_channels=shape.out_features)
    else:
        assert isinstance(shape, Conv)
        conv = shape
    if conv.groups > 1 and not (conv.depthwise and conv.out_channels == conv.channels):
        raise Refusal(
            f"operation {operation.name!r}: dense and depthwise products have waveforms, {conv.groups} groups none"
        )
    stages = json.loads(read_build_file(build.path, TILES))["stages"]
    stage = next(
        entry
        for entry in stages
        if entry["operation"] == item.operation and entry["phases"][0] <= item.phase < entry["phases"][1]
    )
    first, end, top, bottom = stage["tiles"][item.tile]
    channels, rows = min(end - first, LANES), min(bottom - top, SIDE)
    part = replace(
        conv,
        channels=channels if conv.depthwise else conv.channels,
        height=(rows - 1) * conv.stride[0] + conv.kernel[0],
        width=min(conv.width + conv.padding[1] + conv.padding[3], (SIDE - 1) * conv.stride[1] + conv.kernel[1]),
        padding=(0, 0, 0, 0),
        out_channels=channels,
        groups=channels if conv.depthwise else 1,
    )
    weights = build.weights.get(operation.weight)
    if weights is None:
        weights = np.random.default_rng(1).integers(0, 2**31, build.program.constants[operation.weight].shape, np.int32)
    words = weights.reshape(conv.out_channels, -1, *conv.kernel)[first : first + channels].astype(np.uint32)
    return TiledProduct(item, operation, (first, end, top, bottom), part, words)


def draw_waveform(product: TiledProduct, output: Path, cache: Path | None = None) -> tuple[int, int]:
    """Simulate the first job into a VCD; returns its cycles and those of the formula.

    Raises:
        ExecutionFault: the sums are not the software's.
    """
    conv = product.conv
    random = np.random.default_rng(0)
    x = random.integers(0, 2**32, (1, conv.channels, conv.height, conv.width), dtype=np.uint32)
    streams = conv_streams(x, product.weights, conv, SIDE, SIDE)
    (outcome,) = Simulator(CONV_TILE, cache, trace=True).run([Run(streams.words, streams.bus_words, {})], output)
    expected = ring_conv2d(x, product.weights, conv.stride, conv.padding, conv.groups)
    if outcome.status != "done" or not np.array_equal(place_sums(streams, outcome.words, conv, 1), expected):
        raise ExecutionFault(f"operation {product.operation.name!r}: the tile in Verilog and the software disagree")
    return outcome.cycles, sequence_cycles(streams.blocks, LANES)


def _run(options: argparse.Namespace) -> int:
    has_weights = (options.build / "weights.bin").exists()
    product = find_product(load_build(options.build, weights=has_weights), options.operation, options.tile)
    cycles, formula = draw_waveform(product, options.output)
    first, end, top, bottom = product.region
    where = f"channels {first} to {end}, rows {top} to {bottom}"
    print(f"operation {product.operation.name!r}, tile {product.instruction.tile}: {where}")
    print(f"its first job takes {cycles} cycles, {formula} by the formula; the sums are the software's")
    print(f"waveform: {options.output}")
    return 0


def make_parser() -> Parser:
    parser = Parser(prog="python -m rrnet_nni.fpga.hls.rtl.waveform", description=__doc__)
    parser.add_argument("build", type=Path, help="build directory of rrnet-2pc-compile")
    parser.add_argument("--operation", help="name of a convolution or linear layer (default: the first product)")
    parser.add_argument("--tile", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("wave.vcd"))
    add_common_options(parser, json_output=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(make_parser(), _run, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
