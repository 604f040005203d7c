"""Clock cycles of the convolution array, from the blocks that its tiles work through.

A tile (`fpga/hls/rtl/conv_tile.v`) multiplies blocks: `inputs` channels of at most 8x8 output pixels with `outputs`
channels, a kernel of at most 3x3. While one block is multiplied the next is loaded, a pixel and a weight word of
`inputs` channels per cycle each:

    load(block)  = max(pixels in, weight words) + 1
    work(block)  = th · tw · steps + 1,  steps = kh · kw, or kw depthwise; of a last block at least outputs / 4,
                   the bus words of a pixel's sums

A job is the blocks that accumulate into the same sums: all input channels, and the parts of a kernel beyond 3x3.
`sequence_cycles` follows the two stages block by block and agrees with the verilated tile on every cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from ..devices import Accelerator
from ..program.operators import Conv, Linear
from .streaming import expansion_cycles

SIDE = 8  # most output rows and columns of a block
KERNEL = 3  # most kernel rows and columns of a block
STRIDES = (1, 2)  # between the pixels of a block; other strides are gathered tap by tap
BUS_WORDS, WORD_BITS = 4, 32
#: From the issue of a pixel's last product until its first sum is on the bus.
PIPELINE = 9


@dataclass(frozen=True)
class Block:
    """What one tile does at a time: `rows` x `columns` output pixels; `first` clears the sums, `last` sends them."""

    rows: int
    columns: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    first: bool = True
    last: bool = True
    depthwise: bool = False

    @property
    def pixels(self) -> int:
        """Input pixels, with the halo of the kernel."""
        height, width = ((size - 1) * self.stride + k for size, k in zip((self.rows, self.columns), self.kernel))
        return height * width

    def weight_words(self, outputs: int) -> int:
        """Words of `inputs` channels."""
        return self.kernel[0] * self.kernel[1] * (1 if self.depthwise else outputs)

    @property
    def taps(self) -> int:
        """Cycles of products per pixel: depthwise takes a column of the kernel at once."""
        return self.kernel[1] if self.depthwise else self.kernel[0] * self.kernel[1]

    def steps(self, outputs: int) -> int:
        """Cycles per pixel."""
        return max(self.taps, outputs // BUS_WORDS) if self.last else self.taps


def sequence_cycles(blocks: Sequence[Block], outputs: int) -> int:
    """Cycles from the first command to the last sum on the bus, without stalls."""
    full = done = done_before = -1  # cycle from which a block is loaded; cycle of the last product
    answer = 0
    for block in blocks:
        accepted = max(full, done_before + 1, 0)
        full = accepted + max(block.pixels, block.weight_words(outputs)) + 1
        steps = block.steps(outputs)
        done_before, done = done, max(full, done + 1) + block.rows * block.columns * steps
        if block.last:
            answer = done - (steps - block.taps) + PIPELINE + outputs // BUS_WORDS
    return answer


@lru_cache(maxsize=4096)
def _repeated_cycles(job: tuple[Block, ...], outputs: int, times: int) -> int:
    """The same job `times` times on one tile: after the second, every further one adds the same."""
    if times <= 3:
        return sequence_cycles(job * times, outputs)
    two, three = (_repeated_cycles(job, outputs, count) for count in (2, 3))
    return three + (times - 3) * (three - two)


@dataclass(frozen=True)
class ArrayPlan:
    """How a convolution lies on the array: `jobs` equal jobs of these blocks, dealt out to the tiles.

    With `splits` > 1 so many jobs share the input channels of the same sums; each adds its own to the result.
    """

    job: tuple[Block, ...]
    jobs: int
    splits: int = 1

    def cycles(self, accelerator: Accelerator) -> int:
        """Cycles of the tile that works longest, and of the sums that wait for it to be added."""
        outputs = accelerator.tile_outputs
        waiting = (self.splits - 1) * self.job[0].rows * self.job[0].columns * (outputs // BUS_WORDS)
        return _repeated_cycles(self.job, outputs, -(-self.jobs // accelerator.array_tiles)) + waiting


def conv_cycles(shape: Conv | Linear, accelerator: Accelerator, images: int = 1) -> int:
    """Cycles of one ring product of this shape, without the loads and stores of the board's memory."""
    return _conv_cycles(shape, accelerator, images)


@lru_cache(maxsize=4096)
def _conv_cycles(shape: Conv | Linear, accelerator: Accelerator, images: int) -> int:
    return min(plan.cycles(accelerator) for plan in array_plans(shape, accelerator, images))


def product_cycles(shape: Conv | Linear, products: int, accelerator: Accelerator) -> int:
    """Ring products of one shape; all but the first have masks for weights, expanded as the array reads them."""
    plain = conv_cycles(shape, accelerator)
    expansion = expansion_cycles(product_keystream_bits(shape), accelerator.aes_cores)
    return plain + (products - 1) * max(plain, expansion)


def product_keystream_bits(shape: Conv | Linear) -> int:
    """Bits of masks for one product: the weights once per block of pixels, and dealt words for the result."""
    height, width = (1, 1) if isinstance(shape, Linear) else (shape.out_height, shape.out_width)
    blocks = -(-height // SIDE) * -(-width // SIDE)
    return WORD_BITS * (blocks * shape.weights + shape.output_elements)


def part_cycles(
    whole_cycles: float,
    shape: Conv | Linear,
    channels: tuple[int, int],
    rows: tuple[int, int],
    accelerator: Accelerator,
) -> int:
    """Cycles of the same one or two products on a band of output channels and rows; `whole_cycles` are of all of it."""
    products = 1 if whole_cycles <= conv_cycles(shape, accelerator) else 2
    return product_cycles(part_shape(shape, channels[1] - channels[0], rows[1] - rows[0]), products, accelerator)


def part_shape(shape: Conv | Linear, channels: int, rows: int) -> Conv | Linear:
    """The shape that makes so many output channels and rows."""
    if isinstance(shape, Linear):
        return replace(shape, out_features=channels)
    groups = max(1, round(shape.groups * channels / shape.out_channels))
    _, left, _, right = shape.padding
    return replace(
        shape,
        channels=shape.channels // shape.groups * groups,
        height=(rows - 1) * shape.stride[0] + shape.kernel[0],
        padding=(0, left, 0, right),
        out_channels=-(-channels // groups) * groups,
        groups=groups,
    )


def array_plans(shape: Conv | Linear, accelerator: Accelerator, images: int = 1) -> Iterator[ArrayPlan]:
    """Ways to cut a product into jobs: by rows and columns and, where they do not fill the tiles, by input channels."""
    conv = (
        Conv(shape.in_features, 1, 1, (1, 1), out_channels=shape.out_features) if isinstance(shape, Linear) else shape
    )
    if conv.out_height < 1 or conv.out_width < 1:
        return
    depthwise = accelerator.depthwise and conv.depthwise
    for parts_down, parts_across in product(_parts(conv.out_height), _parts(conv.out_width)):
        rows, columns = -(-conv.out_height // parts_down), -(-conv.out_width // parts_across)
        spots = images * parts_down * parts_across
        if depthwise:
            multiplier = conv.out_channels // conv.channels
            lanes = min(accelerator.tile_inputs, accelerator.tile_outputs)
            yield ArrayPlan(_job(conv, rows, columns, 1, True), spots * multiplier * -(-conv.channels // lanes))
            continue
        inputs = -(-conv.channels // conv.groups // accelerator.tile_inputs)
        bands = conv.groups * -(-conv.out_channels // conv.groups // accelerator.tile_outputs)
        jobs = spots * bands
        for splits in range(1, min(inputs, -(-accelerator.array_tiles // jobs)) + 1):
            yield ArrayPlan(_job(conv, rows, columns, -(-inputs // splits), False), splits * jobs, splits)


def _parts(size: int) -> range:
    """From the fewest bands of at most `SIDE` to twice as many."""
    fewest = -(-size // SIDE)
    return range(fewest, min(size, 2 * fewest) + 1)


def _job(conv: Conv, rows: int, columns: int, inputs: int, depthwise: bool) -> tuple[Block, ...]:
    stride, kernels = kernel_parts(conv)
    blocks = [
        Block(rows, columns, kernel, stride, first=False, last=False, depthwise=depthwise)
        for _ in range(inputs)
        for _, kernel in kernels
    ]
    blocks[0] = replace(blocks[0], first=True)
    blocks[-1] = replace(blocks[-1], last=True)
    return tuple(blocks)


def kernel_parts(conv: Conv) -> tuple[int, list[tuple[tuple[int, int], tuple[int, int]]]]:
    """Stride between a block's pixels, and the kernel's parts as (offset, size).

    A stride that the tile does not know, and any stride of a 1x1 kernel, is gathered while loading: one part per tap.
    """
    height, width = conv.kernel
    uniform = conv.stride[0] == conv.stride[1] and conv.stride[0] in STRIDES
    side = KERNEL if uniform and (height, width) != (1, 1) else 1
    parts = [
        ((top, left), (min(side, height - top), min(side, width - left)))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    return (conv.stride[0] if side > 1 else 1), parts
