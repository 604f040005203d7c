"""How finely operations are cut, so that tiles overlap and each fits its part of the on-chip buffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rrnet_nni.base.errors import Refusal

from ...cost.protocol import ProtocolCosts
from ...devices import Device
from ...program import AnyOperation, ConvOp, LinearOp, PickOp, Program
from ...program.operators import Conv, Linear
from .job_writer import WORD_BYTES
from .regions import Region, channel_count, element_count, needed_of, row_count, split

#: Fewer elements than this are not worth a tile of their own.
LEAST_TILE_ELEMENTS = 256
#: Bands of weights that the part of the buffer which is not reserved for tiles holds.
WEIGHT_BANDS = 6


class TileShapes:
    """Regions of tensors, about `tiles` for each operation; none works on more than half of `reserve` bytes."""

    def __init__(
        self, program: Program, device: Device, placed: Mapping[str, ProtocolCosts], tiles: int, reserve: int
    ) -> None:
        self.program, self.device, self.placed = program, device, placed
        self.tiles, self.reserve = tiles, reserve

    def regions(self, tensor: str) -> list[Region]:
        """Bands of rows, cut into bands of channels where there are too few rows."""
        channels, rows = channel_count(self.program, tensor), row_count(self.program, tensor)
        count = self._tile_count(tensor)
        down = min(count, rows)
        across = min(channels, -(-count // down))
        return [Region(band, part) for band in split(channels, across) for part in split(rows, down)]

    def fitting(
        self, operation: AnyOperation, regions: Sequence[Region], working_bytes: Callable[[Region], int]
    ) -> list[Region]:
        """The regions, those that take too much of the buffer cut in two until none does.

        Raises:
            Refusal: one row of one channel takes too much.
        """
        fitting: list[Region] = []
        pending = list(reversed(regions))
        while pending:
            region = pending.pop()
            if working_bytes(region) <= self.reserve // 2:
                fitting.append(region)
                continue
            halves = region.halves()
            if not halves:
                raise self.too_large(operation)
            pending += reversed(halves)
        return fitting

    def product_grid(
        self, operation: ConvOp | LinearOp, shape: Conv | Linear
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Bands of channels, so narrow that the chip holds the weights of several, times bands of rows.

        Raises:
            Refusal: the weights of one channel, or one row of one channel with what it needs, take too much.
        """
        channels, rows = channel_count(self.program, operation.output), row_count(self.program, operation.output)
        weights_limit = (self.device.buffer_bytes - self.reserve) // WEIGHT_BANDS
        widest = weights_limit * channels // (WORD_BYTES * shape.weights)
        if not widest:
            raise self.too_large(operation)
        count, fetches = self._tile_count(operation.output), -(-channels // widest)
        down = min(rows, max(1, count // fetches))
        across = max(fetches, min(channels, -(-count // down)))
        while True:
            bands, parts = split(channels, across), split(rows, down)
            if all(self._product_bytes(operation, Region(bands[0], part)) <= self.reserve // 2 for part in parts):
                return bands, parts
            if (across, down) == (channels, rows):
                raise self.too_large(operation)
            across, down = (across, min(rows, 2 * down)) if down < rows else (min(channels, 2 * across), down)

    def product_input_bytes(self, operation: ConvOp | LinearOp, region: Region) -> int:
        """Bytes of its input that a tile of a product loads."""
        words = self.placed[operation.name].product_input_words()
        return words * WORD_BYTES * self.needed_elements(operation, operation.inputs[0], region)

    def elements(self, tensor: str, region: Region) -> int:
        return element_count(self.program, tensor, region)

    def needed_elements(self, operation: AnyOperation, source: str, region: Region) -> int:
        """Elements of `source` that a region of the operation's result reads."""
        if isinstance(operation, PickOp):
            return self.elements(operation.output, region)
        return self.elements(source, needed_of(self.program, operation, source, region))

    def too_large(self, operation: AnyOperation) -> Refusal:
        return Refusal(
            f"operation {operation.name!r} does not fit the {self.device.buffer_bytes} bytes of buffer of device "
            f"{self.device.name!r} even in its smallest tile"
        )

    def _product_bytes(self, operation: ConvOp | LinearOp, region: Region) -> int:
        results = 2 * WORD_BYTES * self.elements(operation.output, region)
        return self.product_input_bytes(operation, region) + results

    def _tile_count(self, tensor: str) -> int:
        return max(1, min(self.tiles, self.program.tensor(tensor).elements // LEAST_TILE_ELEMENTS))
