"""A ring convolution as products of polynomials, after Cheetah (Huang et al., USENIX Security 2022).

A strided convolution becomes one of stride 1 on the phases of its input (its sub-images), and an image that does not
fit a polynomial is cut into tiles that overlap by the kernel. Then coefficient c·S + y·w + x of an input polynomial is
pixel (y, x) of its channel c, S = h·w being the pixels of a tile; and the product with

    Σ W[m, c, i, j] · X^(O + m·C·S − c·S − i·w − j),   O = (C − 1)·S + (kh − 1)·w + kw − 1,

has pixel (y, x) of output channel m at coefficient O + m·C·S + y·w + x, for C input and M output channels with
C·M·S <= n. How many of each go into a polynomial is chosen to cost least, the same at both parties.

Neighbours share their padding where a kernel moves by single pixels over an image in one piece: the zeros to the right
of a row are those to the left of the next one, and those below a channel are those above the next one. A row then takes
w = W + max(left, right) coefficients and not W + left + right, a channel H + max(top, bottom) rows.

A channel of another group has the weight 0, so that a depthwise convolution of C channels takes blocks of
√(n / S) channels: few products, since all others are zero.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from rrnet_nni.base.errors import Refusal

from .polynomials import DEGREE, LANES

#: What an operation costs: a product in units of one transform, a ciphertext that is sent and one that comes back by
#: their octets, since processors weigh the two alike.
PRODUCT_COST, INPUT_COST, OUTPUT_COST = 6, 135, 55


@dataclass(frozen=True)
class ConvPacking:
    """How one linear operation's inputs and weights lie in polynomials.

    Sub-images (phases) count as channels. `margins`: zero rows and columns of a window at its top, left, bottom and
    right that neighbours share.
    """

    in_channels: int
    out_channels: int
    groups: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    taps: tuple[int, int]
    out_size: tuple[int, int]
    tile: tuple[int, int]
    margins: tuple[int, int, int, int]
    inputs_per_polynomial: int
    outputs_per_polynomial: int

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles along both axes."""
        return -(-self.out_size[0] // self.tile[0]), -(-self.out_size[1] // self.tile[1])

    @property
    def tile_count(self) -> int:
        return self.tiles[0] * self.tiles[1]

    @property
    def window(self) -> tuple[int, int]:
        """Input pixels of a tile."""
        return self.tile[0] + self.taps[0] - 1, self.tile[1] + self.taps[1] - 1

    @property
    def pitch(self) -> int:
        """Coefficients from a row to the next one."""
        return self.window[1] - min(self.margins[1], self.margins[3])

    @property
    def pixels(self) -> int:
        """Coefficients from a channel to the next one: enough for a kernel's reach too, lest weights wrap around."""
        stored = self.pitch * (self.window[0] - min(self.margins[0], self.margins[2]))
        return max(stored, self._reach + 1)

    @property
    def _reach(self) -> int:
        """Coefficients from a kernel's first tap to its last one."""
        return (self.taps[0] - 1) * self.pitch + self.taps[1] - 1

    @property
    def phase_counts(self) -> tuple[int, int]:
        """Sub-images that a kernel meets."""
        return min(self.stride[0], self.kernel[0]), min(self.stride[1], self.kernel[1])

    @property
    def channels(self) -> int:
        """Input channels of the convolution of stride 1."""
        return self.in_channels * self.phase_counts[0] * self.phase_counts[1]

    @property
    def input_polynomials(self) -> int:
        return -(-self.channels // self.inputs_per_polynomial)

    @property
    def output_polynomials(self) -> int:
        return -(-self.out_channels // self.outputs_per_polynomial)

    def arrange_inputs(self, x: np.ndarray) -> np.ndarray:
        """uint32 [N, C, H, W] -> polynomials [N · tiles, inputs, DEGREE]."""
        images = len(x)
        phases = self._phases(x)
        rows, columns = self.tiles
        covered = rows * self.tile[0] + self.taps[0] - 1, columns * self.tile[1] + self.taps[1] - 1
        missing = covered[0] - phases.shape[2], covered[1] - phases.shape[3]
        phases = np.pad(phases, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])))
        windows = np.lib.stride_tricks.sliding_window_view(phases, self.window, axis=(2, 3))
        windows = windows[:, :, :: self.tile[0], :: self.tile[1]].transpose(0, 2, 3, 1, 4, 5)
        top, left = self.margins[:2]
        stored = windows[..., top:, left:]
        stored = np.pad(stored, (*((0, 0),) * 5, (0, self.pitch - stored.shape[-1])))
        pixels = stored.reshape(images * self.tile_count, self.channels, -1)[:, :, : self.pixels]
        unused = self.input_polynomials * self.inputs_per_polynomial - self.channels
        pixels = np.pad(pixels, ((0, 0), (0, unused), (0, self.pixels - pixels.shape[2])))
        pixels = pixels.reshape(len(pixels), self.input_polynomials, -1)
        return np.pad(pixels, ((0, 0), (0, 0), (0, DEGREE - pixels.shape[2])))

    def _phases(self, x: np.ndarray) -> np.ndarray:
        """Sub-images [N, C · phases, h, w] that the kernel's taps meet."""
        down, right = self.stride
        height, width = (size + tap - 1 for size, tap in zip(self.out_size, self.taps))
        top, left, bottom, right_padding = self.padding
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right_padding)))
        missing = max(0, height * down - padded.shape[2]), max(0, width * right - padded.shape[3])
        padded = np.pad(padded, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])))
        rows, columns = self.phase_counts
        parts = [padded[:, :, i::down, j::right][:, :, :height, :width] for i in range(rows) for j in range(columns)]
        return np.stack(parts, axis=2).reshape(len(x), self.channels, height, width)

    def arrange_weights(self, weights: np.ndarray) -> np.ndarray:
        """uint32 [O, C / groups, kh, kw] -> [O, C / groups · phases, taps] of the convolution of stride 1."""
        down, right = self.stride
        rows, columns = self.phase_counts
        result = np.zeros((*weights.shape[:2], rows, columns, *self.taps), np.uint32)
        for i in range(rows):
            for j in range(columns):
                part = weights[:, :, i::down, j::right]
                result[:, :, i, j, : part.shape[2], : part.shape[3]] = part
        return result.reshape(len(weights), -1, self.taps[0] * self.taps[1])

    @property
    def _offset(self) -> int:
        return (self.inputs_per_polynomial - 1) * self.pixels + self._reach

    def weight_layout(self) -> tuple[np.ndarray, np.ndarray]:
        """What the kernel needs to place arranged weights: sizes, as its `packing` has them, and taps' distances."""
        groups = self.channels // self.groups, self.out_channels // self.groups
        taps = np.arange(self.taps[0])[:, None] * self.pitch + np.arange(self.taps[1])
        packed = self.inputs_per_polynomial, self.outputs_per_polynomial, self.pixels, self._offset
        sizes = self.channels, self.out_channels, *groups, taps.size, *packed
        return np.array(sizes, np.int64), taps.reshape(-1).astype(np.int64)

    @property
    def nonzeros(self) -> int:
        """Most weights whose products one coefficient of an output polynomial sums up."""
        per_group = self.channels // self.groups * self.taps[0] * self.taps[1]
        return per_group * min(self.outputs_per_polynomial, self.out_channels)

    def output_places(self) -> np.ndarray:
        """Coefficients of an output polynomial that are wanted: int64 [outputs per polynomial · tile pixels]."""
        rows, columns = self.tile
        pixels = np.arange(rows)[:, None] * self.pitch + np.arange(columns)
        channels = np.arange(self.outputs_per_polynomial) * self.inputs_per_polynomial * self.pixels
        first = self._offset - self.margins[0] * self.pitch - self.margins[1]
        return (first + channels[:, None, None] + pixels).reshape(-1)

    def gather_outputs(self, wanted: np.ndarray, images: int) -> np.ndarray:
        """Wanted coefficients uint32 [N · tiles, output polynomials, n] -> [N, O, H', W']."""
        rows, columns = self.tiles
        pixels = wanted.reshape(images, rows, columns, -1, *self.tile)[:, :, :, : self.out_channels]
        full = pixels.transpose(0, 3, 1, 4, 2, 5).reshape(
            images, self.out_channels, rows * self.tile[0], columns * self.tile[1]
        )
        return full[:, :, : self.out_size[0], : self.out_size[1]]


@functools.lru_cache(maxsize=4096)
def pack_convolution(
    image: tuple[int, int, int],
    weights: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: int,
    out_size: tuple[int, int],
) -> ConvPacking:
    """The cheapest packing of a convolution of images [C, H, W] with weights [O, C / groups, kh, kw].

    Raises:
        Refusal: a row of the kernel is longer than a polynomial.
    """
    taps = -(-weights[2] // stride[0]), -(-weights[3] // stride[1])
    tile = _tile(out_size, taps)
    if tile is None:
        raise Refusal(f"a kernel of {weights[2]}x{weights[3]} is too large for two-party preprocessing")
    margins = _margins(image[1:], taps, stride, padding, out_size) if tile == out_size else (0, 0, 0, 0)
    fixed = image[0], weights[0], groups, (weights[2], weights[3]), stride, padding, taps, out_size, tile, margins
    whole = ConvPacking(*fixed, 1, 1)
    room = DEGREE // whole.pixels
    candidates: dict[tuple[int, int], tuple[int, int]] = {}
    for inputs in range(1, min(room, whole.channels) + 1):
        outputs = min(room // inputs, whole.out_channels)
        shape = -(-whole.channels // inputs), -(-whole.out_channels // outputs)
        candidates.setdefault(shape, (inputs, outputs))
    packings = [ConvPacking(*fixed, *packed) for packed in candidates.values()]
    return min(packings, key=packing_cost)


def _margins(
    size: tuple[int, ...],
    taps: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    out_size: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Zero rows and columns around an image [H, W] that a kernel reaches; none where strides make phases."""
    if stride != (1, 1):
        return 0, 0, 0, 0
    before = [min(pad, tap - 1) for pad, tap in zip(padding[:2], taps)]
    spans = [out + tap - 1 for out, tap in zip(out_size, taps)]
    after = [max(0, span - pad - length) for span, pad, length in zip(spans, padding[:2], size)]
    return before[0], before[1], min(after[0], taps[0] - 1), min(after[1], taps[1] - 1)


def _tile(size: tuple[int, int], taps: tuple[int, int]) -> tuple[int, int] | None:
    """Output pixels of the largest tile whose inputs fit a polynomial, whole rows if possible, evenly cut."""
    columns = min(size[1], DEGREE // taps[0] - taps[1] + 1)
    if columns < 1:
        return None
    rows = min(size[0], DEGREE // (columns + taps[1] - 1) - taps[0] + 1)
    even = [-(-length // -(-length // part)) for length, part in zip(size, (rows, columns))]
    return even[0], even[1]


def packing_cost(packing: ConvPacking) -> int:
    """What a packing costs for one image, in transforms."""
    inputs, outputs = packing.input_polynomials, packing.output_polynomials
    padded = -(-outputs // LANES) * LANES
    products = inputs * padded
    if packing.groups > 1:
        overlap = -(-packing.outputs_per_polynomial * LANES * packing.channels // packing.out_channels)
        products = padded * min(inputs, -(-overlap // packing.inputs_per_polynomial) + 1)
    return packing.tile_count * (products * PRODUCT_COST + inputs * INPUT_COST + padded * OUTPUT_COST)
