"""Convolutions as the streams of one tile: commands, pixels and weights in, sums out.

This is what the accelerator's loaders do. It follows `fpga/cost/array.py` block by block, so that a plan that prices a
convolution is also a plan that computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...cost.array import Block, kernel_parts
from ...program.operators import Conv

LANES = 8  # input channels and output channels of the tile


@dataclass(frozen=True)
class TileStreams:
    """Streams of one tile, and where the sums belong.

    Attributes:
        blocks: in order, for the cycle formula.
        cmd, pix, wgt: uint32 words of the streams.
        places: per job (image, first output channel, first row, first column, rows, columns).
    """

    blocks: tuple[Block, ...]
    cmd: np.ndarray
    pix: np.ndarray
    wgt: np.ndarray
    places: tuple[tuple[int, int, int, int, int, int], ...]

    @property
    def bus_words(self) -> int:
        """Bus words that come out."""
        return sum(block.rows * block.columns * LANES // 4 for block in self.blocks if block.last)

    @property
    def words(self) -> dict[str, np.ndarray]:
        return {"cmd": self.cmd, "pix": self.pix, "wgt": self.wgt}


def command(block: Block) -> int:
    """The command word of a block; see conv_tile.v."""
    fields = ((block.rows, 4), (block.columns, 4), (block.kernel[0], 2), (block.kernel[1], 2), (block.stride, 2))
    word, position = 0, 0
    for value, bits in (*fields, (block.first, 1), (block.last, 1), (block.depthwise, 1)):
        word |= int(value) << position
        position += bits
    return word


def conv_streams(x: np.ndarray, weights: np.ndarray, conv: Conv, rows: int, columns: int) -> TileStreams:
    """All jobs of a dense or depthwise convolution on one tile, in bands of `rows` x `columns` output pixels.

    Args:
        x: uint32 [N, C, H, W].
        weights: uint32 [O, C / groups, kh, kw]; groups is 1, or C with O = C.
    """
    top, left, bottom, right = conv.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    builder = _Builder(padded, weights, conv)
    for image in range(len(x)):
        for y in range(0, conv.out_height, rows):
            for c in range(0, conv.out_width, columns):
                size = (min(rows, conv.out_height - y), min(columns, conv.out_width - c))
                for output in range(0, conv.out_channels, LANES):
                    builder.add(image, output, y, c, size)
    return builder.streams()


def place_sums(streams: TileStreams, sums: np.ndarray, conv: Conv, images: int) -> np.ndarray:
    """The sums that came out, uint32 words in order, as uint32 [N, O, H', W']."""
    result = np.zeros((images, conv.out_channels, conv.out_height, conv.out_width), np.uint32)
    position = 0
    for image, output, y, c, rows, columns in streams.places:
        count = rows * columns * LANES
        part = sums[position : position + count].reshape(rows, columns, LANES).transpose(2, 0, 1)
        kept = min(LANES, conv.out_channels - output)
        result[image, output : output + kept, y : y + rows, c : c + columns] = part[:kept]
        position += count
    return result


class _Builder:
    """Collects the blocks of job after job."""

    def __init__(self, padded: np.ndarray, weights: np.ndarray, conv: Conv) -> None:
        self.padded, self.weights, self.conv = padded, weights, conv
        self.stride, self.kernels = kernel_parts(conv)
        self.blocks: list[Block] = []
        self.pix: list[np.ndarray] = []
        self.wgt: list[np.ndarray] = []
        self.places: list[tuple[int, int, int, int, int, int]] = []

    def add(self, image: int, output: int, y: int, c: int, size: tuple[int, int]) -> None:
        """One job."""
        depthwise = self.conv.depthwise
        inputs = [output] if depthwise else list(range(0, self.conv.channels, LANES))
        parts = [(channel, *part) for channel in inputs for part in self.kernels]
        for number, (channel, offset, kernel) in enumerate(parts):
            block = Block(*size, kernel, self.stride, number == 0, number == len(parts) - 1, depthwise)
            self.blocks.append(block)
            self.pix.append(self._pixels(image, channel, (y, c), offset, block))
            self.wgt.append(self._weights(output, channel, offset, kernel))
        self.places.append((image, output, y, c, *size))

    def _pixels(
        self, image: int, channel: int, corner: tuple[int, int], offset: tuple[int, int], block: Block
    ) -> np.ndarray:
        """uint32 [rows, columns, LANES] of the padded input; strides that the tile does not know are gathered here."""
        gather = [1 if self.stride == stride else stride for stride in self.conv.stride]
        indices = []
        for axis, size in enumerate((block.rows, block.columns)):
            start = corner[axis] * self.conv.stride[axis] + offset[axis]
            count = (size - 1) * block.stride + block.kernel[axis]
            indices.append(start + gather[axis] * np.arange(count))
        window = self.padded[image, channel : channel + LANES][:, indices[0][:, None], indices[1]]
        return _lanes(window.transpose(1, 2, 0))

    def _weights(self, output: int, channel: int, offset: tuple[int, int], kernel: tuple[int, int]) -> np.ndarray:
        """Dense: uint32 [LANES outputs, kh, kw, LANES inputs]; depthwise: [kh, kw, LANES channels]."""
        top, left = offset
        part = self.weights[output : output + LANES, :, top : top + kernel[0], left : left + kernel[1]]
        if self.conv.depthwise:
            return _lanes(part[:, 0].transpose(1, 2, 0))
        dense = _lanes(part[:, channel : channel + LANES].transpose(0, 2, 3, 1))
        return np.concatenate([dense, np.zeros((LANES - len(dense), *dense.shape[1:]), np.uint32)])

    def streams(self) -> TileStreams:
        cmd = np.array([command(block) for block in self.blocks], np.uint32)
        return TileStreams(tuple(self.blocks), cmd, _joined(self.pix), _joined(self.wgt), tuple(self.places))


def _lanes(words: np.ndarray) -> np.ndarray:
    """The last axis filled with zeros up to `LANES` channels."""
    return np.pad(words, [(0, 0)] * (words.ndim - 1) + [(0, LANES - words.shape[-1])])


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.ravel() for part in parts])
