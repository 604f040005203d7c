"""Cut every operation into tiles, and every tile into jobs for the units of the accelerator.

A stage is the part of an operation that works tile by tile: a convolution has two (opening its input, then products),
everything else one. A tile is loaded, passes the protocol's phases and is stored; its buffer on the chip lives from
load to store. Tiles are bands of rows, or of channels where there are few rows or many weights.

Masks and shares of masks are expanded from seeds on the chip and are not loaded: a product reads the opened weights
F = W - B, the opened input and the input's share; other operations read shares and the dealer's corrections.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rrnet_nni.base.errors import Refusal

from ...cost.protocol import Compute, Exchange, Phase, ProtocolCosts, comparison_start
from ...devices import Device
from ...program import (
    AnyOperation,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    MulOp,
    Program,
    ReluOp,
    ReshapeOp,
    SelectOp,
    SquareOp,
    SumPoolOp,
    TruncateOp,
)
from ...program.operators import Conv, Linear
from ...program.shapes import operation_shape
from ...program.views import view_channel
from ...protocols import get_protocol
from ...protocols.shared.local_operations import LOCAL_OPERATIONS
from .job_table import JobGraph
from .job_writer import WORD_BYTES, JobWriter, TileWork, granules
from .jobs import BUFFER_GRANULE, Stage
from .regions import Region, Tiles, channel_count, needed_of, overlapping, row_count, split
from .tile_phases import TilePhases
from .tile_shapes import TileShapes

#: Parts of the buffer of which one is reserved for tiles, the first with which every operation fits.
RESERVES = (8, 4, 2)


@dataclass(slots=True)  # and not frozen, as jobs
class _Tile:
    """A region to make, the bytes of inputs that it loads, and the loads of its weights."""

    region: Region
    load_bytes: int
    weights: tuple[int, ...] = ()


def build_jobs(program: Program, device: Device, protocol: ProtocolCosts, tiles: int) -> JobGraph:
    """Jobs of the whole program, every operation in about `tiles` tiles.

    Raises:
        Refusal: a tile does not fit the device's buffers however small it is.
    """
    refusal: Refusal | None = None
    for parts in RESERVES:
        reserve = device.buffer_bytes // parts // BUFFER_GRANULE * BUFFER_GRANULE
        builder = _Builder(program, device, protocol, tiles, reserve)
        try:
            for index, operation in enumerate(program.operations):
                builder.add(index, operation)
        except Refusal as error:
            refusal = error
            continue
        return builder.writer.graph
    assert refusal is not None
    raise refusal


class _Builder:
    def __init__(self, program: Program, device: Device, protocol: ProtocolCosts, tiles: int, reserve: int) -> None:
        self.program, self.device, self.reserve = program, device, reserve
        self.placed = protocol.in_place(program)
        self.shapes = TileShapes(program, device, self.placed, tiles, reserve)
        self.parts = TilePhases(program, device, self.placed)
        plan_words = get_protocol(protocol.name).plan
        plans = () if plan_words is None else zip(program.operations, plan_words(program), strict=True)
        self.plans = {operation.name: plan for operation, plan in plans}
        self.writer = JobWriter(device, reserve)
        self.made: dict[str, Tiles] = {program.input: []}
        #: Tensors whose words are open, with the tiles that opened them.
        self.opened: dict[str, Tiles] = {}

    def add(self, index: int, operation: AnyOperation) -> None:
        """Append the stages of the next operation."""
        if (first := view_channel(operation, self.program)) is not None:
            for known in (self.made, self.opened):
                if operation.inputs[0] in known:
                    known[operation.output] = self._viewed(operation, first, known[operation.inputs[0]])
            return
        shape = operation_shape(operation, self.program)
        phases = self.placed[operation.name].phases(shape, self.device)
        if isinstance(operation, ConvOp | LinearOp) and isinstance(shape, Conv | Linear):
            self._add_product(index, operation, shape, phases)
            return
        material = max(self.placed[operation.name].offline_bytes(shape))
        self._add_elementwise(index, operation, phases, material / self.program.tensor(operation.output).elements)

    def _viewed(self, operation: AnyOperation, first: int, tiles: Tiles) -> Tiles:
        """The tiles of the input as tiles of what is its channels from `first` on."""
        if isinstance(operation, ReshapeOp):
            return tiles
        count = channel_count(self.program, operation.output)
        ranges = [(max(band[0] - first, 0), min(band[1] - first, count)) for (band, _), _ in tiles]
        return [(Region(band, region.rows), job) for band, (region, job) in zip(ranges, tiles) if band[0] < band[1]]

    def _add_elementwise(self, index: int, operation: AnyOperation, phases: Sequence[Phase], material: float) -> None:
        """Every operation but a product: `material` bytes of corrections per element, and its inputs' shares."""
        protocol, start = self.placed[operation.name], comparison_start(phases)
        # a pooling's windows overlap, so that its input is opened in a stage of its own
        opens = isinstance(operation, MaxPoolOp) and any(isinstance(phase, Exchange) for phase in phases[:start])
        if opens:
            self._open_input(index, operation, phases[:start])
        start = start if opens else 0
        pools_open = isinstance(operation, MaxPoolOp) and protocol.words_stay_open
        # the share, the opened words, and a mask that was opened before
        forms = (2 if opens else 3) if pools_open else 1
        loaded, stored = protocol.word_bytes()
        exchanges = any(isinstance(phase, Exchange) for phase in phases[:2])
        hands_on = self._hands_on(operation)

        @functools.cache
        def load_bytes(region: Region) -> int:
            words = sum(self.shapes.needed_elements(operation, name, region) for name in operation.inputs)
            return loaded * forms * words

        def working_bytes(region: Region) -> int:
            results = math.ceil((material + stored) * self.shapes.elements(operation.output, region))
            return load_bytes(region) + results

        regions = self.shapes.fitting(operation, self._elementwise_regions(operation), working_bytes)
        tiles = [_Tile(region, load_bytes(region)) for region in regions]
        if opens:
            ready = {name: [self.opened[name]] for name in operation.inputs}
        elif pools_open or hands_on:
            ready = {name: [self.made[name], self.opened[name]] for name in operation.inputs}
        elif isinstance(operation, MulOp | SelectOp):
            ready = {
                name: [self.made[name]] if opens else [self.made[name], self.opened.get(name, self.made[name])]
                for name, opens in self._opened_factors(operation)
            }
        elif isinstance(operation, ReluOp | SquareOp | TruncateOp) and not exchanges:
            # it reads the words that another operation opens
            ready = {name: [self.opened.get(name, self.made[name])] for name in operation.inputs}
        else:
            ready = {name: [self.made[name]] for name in operation.inputs}
        made = self._stage(index, operation, operation.output, phases[start:], start, tiles, material, ready)
        self.made[operation.output] = made
        if hands_on:
            self.opened[operation.output] = made
        if isinstance(operation, MulOp | SelectOp) and exchanges:
            self._note_opened(operation, made)
        if isinstance(operation, SquareOp):
            self.made[operation.inputs[0]] = made  # later readers find its input as it left it
        if isinstance(operation, ReluOp | SquareOp | TruncateOp) and exchanges:
            self.opened[operation.inputs[0]] = made

    def _opened_factors(self, operation: MulOp | SelectOp) -> list[tuple[str, bool]]:
        """The factors of a product of two secrets, or what signs choose, and whether it opens them itself."""
        plan = self.plans.get(operation.name)
        opens = (True, True) if plan is None else (plan.opens, plan.opens_second)
        return list(zip(operation.inputs, opens, strict=True))

    def _note_opened(self, operation: MulOp | SelectOp, made: Tiles) -> None:
        """What a product opens is open when its tiles are stored; a factor per channel when all of them are."""
        for name, opens in self._opened_factors(operation):
            if opens and self.program.tensor(name).shape == self.program.tensor(operation.output).shape:
                self.opened[name] = made
            elif opens:
                whole = Region((0, channel_count(self.program, name)), (0, row_count(self.program, name)))
                self.opened[name] = [(whole, store) for _, store in made]

    def _hands_on(self, operation: AnyOperation) -> bool:
        """Whether a local operation's inputs are open, so that its result's words are open too."""
        open_inputs = all(name in self.opened for name in operation.inputs)
        return self.placed[operation.name].words_stay_open and isinstance(operation, LOCAL_OPERATIONS) and open_inputs

    def _open_input(self, index: int, operation: AnyOperation, phases: Sequence[Phase]) -> Tiles:
        """The stage that opens an operation's input, tile by tile of the input."""
        source, shapes = operation.inputs[0], self.shapes
        made = self.made[source]
        regions = [region for region, _ in made] if self._fits(source) else shapes.regions(source)
        regions = shapes.fitting(operation, regions, lambda region: 2 * WORD_BYTES * shapes.elements(source, region))
        tiles = [_Tile(region, WORD_BYTES * shapes.elements(source, region)) for region in regions]
        self.opened[source] = self._stage(index, operation, source, phases, 0, tiles, 0.0, {source: [made]})
        return self.opened[source]

    def _add_product(
        self, index: int, operation: ConvOp | LinearOp, shape: Conv | Linear, phases: Sequence[Phase]
    ) -> None:
        """Open the input tile by tile, then multiply; each band of output channels loads its weights once, ahead."""
        start = next((i for i, phase in enumerate(phases) if isinstance(phase, Compute) and phase.kernel == "array"), 0)
        source = operation.inputs[0]
        opened = self.opened.get(source, self.made[source])
        if start:
            opened = self._open_input(index, operation, phases[:start])
        filter_bytes = WORD_BYTES * shape.weights / channel_count(self.program, operation.output)
        bands, rows = self.shapes.product_grid(operation, shape)
        tiles = []
        for number, band in enumerate(bands):
            weights = self.writer.band(index, number, start, granules(filter_bytes * (band[1] - band[0])))
            for row in rows:
                region = Region(band, row)
                tiles.append(_Tile(region, self.shapes.product_input_bytes(operation, region), weights))
        self.made[operation.output] = self._stage(
            index, operation, operation.output, phases[start:], start, tiles, float(WORD_BYTES), {source: [opened]}
        )

    def _fits(self, tensor: str) -> bool:
        return bool(self.made[tensor]) and len(self.program.tensor(tensor).shape) == 3

    def _elementwise_regions(self, operation: AnyOperation) -> list[Region]:
        """The tiles of the first input where the shapes agree, so that a tile waits for one tile only."""
        first = operation.inputs[0]
        if isinstance(operation, SelectOp):  # whole channels: no patch is compared for two tiles
            channels, rows = (count(self.program, operation.output) for count in (channel_count, row_count))
            bands = split(channels, min(channels, self.shapes.tiles))
            return [Region(band, (0, rows)) for band in bands]
        same = self.program.tensor(first).shape == self.program.tensor(operation.output).shape
        if same and self._fits(first) and not isinstance(operation, MaxPoolOp | SumPoolOp):
            return [region for region, _ in self.made[first]]
        return self.shapes.regions(operation.output)

    def _stage(
        self,
        index: int,
        operation: AnyOperation,
        tensor: str,
        phases: Sequence[Phase],
        first_phase: int,
        tiles: Sequence[_Tile],
        material_per_element: float,
        ready: Mapping[str, Sequence[Tiles]],
    ) -> Tiles:
        """Append the jobs of one stage; returns its tiles with the job that stores each.

        `ready`: per input the tilings of it that must be stored before it can be loaded.
        """
        graph = self.writer.graph
        first_job = len(graph.jobs)
        counts = [self.shapes.elements(tensor, tile.region) for tile in tiles]
        total, parts = sum(counts), self.parts.of_stage(operation, phases, first_phase)
        stored = self.placed[operation.name].word_bytes()[1] if tensor == operation.output else WORD_BYTES
        done = 0
        made: Tiles = []
        for number, (tile, count) in enumerate(zip(tiles, counts, strict=True)):
            works = parts(tile.region, (done, done + count, total))
            done += count
            waits = list(tile.weights)
            for source, tilings in ready.items():
                for made_before in tilings:
                    waits += self._waits(operation, tensor, source, tile.region, made_before, number)
            load_bytes = tile.load_bytes + math.ceil(material_per_element * count)
            step = (index, number, first_phase, count)
            work = TileWork(*step, load_bytes, stored * count, works, tuple(waits), tile.weights)
            if work.buffer_bytes > self.reserve:
                raise self.shapes.too_large(operation)
            made.append((tile.region, self.writer.tile(work)))
        regions, end_phase = tuple(tile.region for tile in tiles), first_phase + len(phases)
        graph.stages.append(Stage(index, tensor, first_phase, end_phase, regions, first_job, len(graph.jobs)))
        return made

    def _waits(
        self, operation: AnyOperation, tensor: str, source: str, region: Region, tiles: Tiles, number: int
    ) -> list[int]:
        """The stores of `source` that tile `number` must wait for; flattened tensors wait for all."""
        if len(self.program.tensor(source).shape) == 1:
            return [store for _, store in tiles]
        opening = tensor != operation.output
        needed = region if opening else needed_of(self.program, operation, source, region)
        if number < len(tiles) and tiles[number][0] == needed:
            return [tiles[number][1]]
        return overlapping(tiles, needed)
