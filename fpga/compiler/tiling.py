"""Cut every operation into tiles, and every tile into jobs for the units of the accelerator.

A stage is the part of an operation that works tile by tile: a convolution has two (opening its input, then products),
everything else one. A tile is loaded, passes the protocol's phases and is stored; its buffer on the chip lives from
load to store. Tiles are bands of rows, or of channels where there are few rows or many weights.

Masks and shares of masks are expanded from seeds on the chip and are not loaded: a product reads the opened weights
F = W - B, the opened input and the input's share; other operations read shares and the dealer's corrections.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..cost.array import part_cycles
from ..devices import Device
from ..errors import Refusal
from ..isa import Queue
from ..operators import Conv, Linear
from ..program import (
    AnyOperation,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    Program,
    ReluOp,
    ReshapeOp,
    SquareOp,
    SumPoolOp,
    TruncateOp,
)
from ..program_shapes import operation_shape, tile_shape
from ..protocols.base import Compute, Exchange, Phase, Protocol, comparison_start
from ..protocols.local_operations import LOCAL_OPERATIONS
from .jobs import BUFFER_GRANULE, Job, JobGraph, Rates, Stage
from .regions import Region, channel_count, element_count, needed_of, row_count, split

WORD_BYTES = 4
KERNEL_QUEUE = {"array": Queue.ARRAY, "comparator": Queue.COMPARATOR, "alu": Queue.ALU}
#: Fewer elements than this are not worth a tile of their own.
LEAST_TILE_ELEMENTS = 256
#: Parts of the buffer of which one is reserved for tiles, the first with which every operation fits.
RESERVES = (8, 4, 2)
#: Bands of weights that the part of the buffer which is not reserved for tiles holds.
WEIGHT_BANDS = 6
Tiles: TypeAlias = list[tuple[Region, int]]


@dataclass(frozen=True)
class _Tile:
    """A region to make, the bytes of inputs that it loads, and the load of its weights."""

    region: Region
    load_bytes: int
    weights: int | None = None


def build_jobs(program: Program, device: Device, protocol: Protocol, tiles: int) -> JobGraph:
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
        return builder.graph
    assert refusal is not None
    raise refusal


class _Builder:
    def __init__(self, program: Program, device: Device, protocol: Protocol, tiles: int, reserve: int) -> None:
        self.program, self.device, self.tiles = program, device, tiles
        self.placed = protocol.in_place(program)
        self.rates = Rates.of(device)
        self.reserve = reserve
        self.graph = JobGraph(reserve)
        self.made: dict[str, Tiles] = {program.input: []}
        #: Tensors whose words are open, with the tiles that opened them.
        self.opened: dict[str, Tiles] = {}

    def add(self, index: int, operation: AnyOperation) -> None:
        if isinstance(operation, ReshapeOp):
            for known in (self.made, self.opened):
                if operation.inputs[0] in known:
                    known[operation.output] = known[operation.inputs[0]]
            return
        shape = operation_shape(operation, self.program)
        phases = self.placed[operation.name].phases(shape, self.device)
        if isinstance(operation, ConvOp | LinearOp) and isinstance(shape, Conv | Linear):
            self._add_product(index, operation, shape, phases)
            return
        result = self.program.tensor(operation.output)
        material = max(self.placed[operation.name].offline_bytes(shape)) / result.elements
        start = comparison_start(phases)
        # a pooling's windows overlap, so that its input is opened in a stage of its own
        opens = isinstance(operation, MaxPoolOp) and any(isinstance(phase, Exchange) for phase in phases[:start])
        if opens:
            self._open_input(index, operation, phases[:start])
        start = start if opens else 0
        hands_on = self._hands_on(operation)
        pools_open = isinstance(operation, MaxPoolOp) and self.placed[operation.name].words_stay_open
        forms = (
            (2 if opens else 3) if pools_open else 1
        )  # the share, the opened words, and a mask that was opened before
        loaded, stored = self.placed[operation.name].word_bytes()
        exchanges = any(isinstance(phase, Exchange) for phase in phases[:2])
        ready = {name: self.made[name] for name in operation.inputs}
        if opens:
            ready = {name: self.opened[name] for name in ready}
        elif pools_open or hands_on:
            ready = {name: [*tiles, *self.opened[name]] for name, tiles in ready.items()}
        elif isinstance(operation, ReluOp | SquareOp | TruncateOp) and not exchanges:
            # it reads the words that another operation opens
            ready = {name: self.opened.get(name, tiles) for name, tiles in ready.items()}

        def load_bytes(region: Region) -> int:
            words = sum(self._needed_elements(operation, name, region) for name in operation.inputs)
            return loaded * forms * words

        def working_bytes(region: Region) -> int:
            return load_bytes(region) + math.ceil((material + stored) * self._elements(operation.output, region))

        regions = self._fitting(operation, self._elementwise_regions(operation), working_bytes)
        tiles = [_Tile(region, load_bytes(region)) for region in regions]
        self.made[operation.output] = self._stage(
            index, operation, operation.output, phases[start:], start, tiles, material, ready
        )
        if hands_on:
            self.opened[operation.output] = self.made[operation.output]
        if isinstance(operation, SquareOp):
            self.made[operation.inputs[0]] = self.made[operation.output]  # later readers find its input as it left it
        if isinstance(operation, ReluOp | SquareOp | TruncateOp) and exchanges:
            self.opened[operation.inputs[0]] = self.made[operation.output]

    def _hands_on(self, operation: AnyOperation) -> bool:
        """Whether a local operation's inputs are open, so that its result's words are open too."""
        open_inputs = all(name in self.opened for name in operation.inputs)
        return self.placed[operation.name].words_stay_open and isinstance(operation, LOCAL_OPERATIONS) and open_inputs

    def _open_input(self, index: int, operation: AnyOperation, phases: Sequence[Phase]) -> Tiles:
        """The stage that opens an operation's input, tile by tile of the input."""
        source = operation.inputs[0]
        made = self.made[source]
        regions = [region for region, _ in made] if self._fits(source) else self._regions(source)
        regions = self._fitting(operation, regions, lambda region: 2 * WORD_BYTES * self._elements(source, region))
        tiles = [_Tile(region, WORD_BYTES * self._elements(source, region)) for region in regions]
        self.opened[source] = self._stage(index, operation, source, phases, 0, tiles, 0.0, {source: made})
        return self.opened[source]

    def _fitting(
        self, operation: AnyOperation, regions: Sequence[Region], working_bytes: Callable[[Region], int]
    ) -> list[Region]:
        """The regions, those that would take more than half of the tiles' reserve cut in two until none does."""
        fitting: list[Region] = []
        pending = list(reversed(regions))
        while pending:
            region = pending.pop()
            if working_bytes(region) <= self.reserve // 2:
                fitting.append(region)
                continue
            halves = region.halves()
            if not halves:
                raise self._too_large(operation)
            pending += reversed(halves)
        return fitting

    def _add_product(
        self, index: int, operation: ConvOp | LinearOp, shape: Conv | Linear, phases: Sequence[Phase]
    ) -> None:
        """Open the input tile by tile, then multiply; each band of output channels loads its weights once, ahead."""
        start = next((i for i, phase in enumerate(phases) if isinstance(phase, Compute) and phase.kernel == "array"), 0)
        source = operation.inputs[0]
        opened = self.opened.get(source, self.made[source])
        if start:
            opened = self._open_input(index, operation, phases[:start])
        tiles = []
        input_words = self.placed[operation.name].product_input_words()
        bands, rows = self._product_grid(operation, shape)
        for number, band in enumerate(bands):
            size = _granules(
                WORD_BYTES * shape.weights * (band[1] - band[0]) / channel_count(self.program, operation.output)
            )
            weights = self._transfer(Queue.LOAD, size, index, number, start, 0, (), allocates=size, weights=True)
            for row in rows:
                region = Region(band, row)
                inputs = input_words * WORD_BYTES * self._needed_elements(operation, source, region)
                tiles.append(_Tile(region, inputs, weights))
        self.made[operation.output] = self._stage(
            index, operation, operation.output, phases[start:], start, tiles, float(WORD_BYTES), {source: opened}
        )

    def _product_grid(
        self, operation: ConvOp | LinearOp, shape: Conv | Linear
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Bands of channels, so narrow that the chip holds the weights of several, times bands of rows."""
        channels, rows = channel_count(self.program, operation.output), row_count(self.program, operation.output)
        weights_limit = (self.device.buffer_bytes - self.reserve) // WEIGHT_BANDS
        widest = weights_limit * channels // (WORD_BYTES * shape.weights)
        if not widest:
            raise self._too_large(operation)
        count, fetches = self._tile_count(operation.output), -(-channels // widest)
        down = min(rows, max(1, count // fetches))
        across = max(fetches, min(channels, -(-count // down)))
        while True:
            bands, parts = split(channels, across), split(rows, down)
            if all(self._product_bytes(operation, Region(bands[0], part)) <= self.reserve // 2 for part in parts):
                return bands, parts
            if (across, down) == (channels, rows):
                raise self._too_large(operation)
            across, down = (across, min(rows, 2 * down)) if down < rows else (min(channels, 2 * across), down)

    def _product_bytes(self, operation: AnyOperation, region: Region) -> int:
        input_words = self.placed[operation.name].product_input_words()
        inputs = input_words * WORD_BYTES * self._needed_elements(operation, operation.inputs[0], region)
        return inputs + 2 * WORD_BYTES * self._elements(operation.output, region)

    def _fits(self, tensor: str) -> bool:
        return bool(self.made[tensor]) and len(self.program.tensor(tensor).shape) == 3

    def _elementwise_regions(self, operation: AnyOperation) -> list[Region]:
        """The tiles of the first input where the shapes agree, so that a tile waits for one tile only."""
        first = operation.inputs[0]
        same = self.program.tensor(first).shape == self.program.tensor(operation.output).shape
        if same and self._fits(first) and not isinstance(operation, MaxPoolOp | SumPoolOp):
            return [region for region, _ in self.made[first]]
        return self._regions(operation.output)

    def _too_large(self, operation: AnyOperation) -> Refusal:
        return Refusal(
            f"operation {operation.name!r} does not fit the {self.device.buffer_bytes} bytes of buffer of device "
            f"{self.device.name!r} even in its smallest tile"
        )

    def _stage(
        self,
        index: int,
        operation: AnyOperation,
        tensor: str,
        phases: Sequence[Phase],
        first_phase: int,
        tiles: Sequence[_Tile],
        material_per_element: float,
        ready: Mapping[str, Tiles],
    ) -> Tiles:
        """Append the jobs of one stage; returns its tiles with the job that stores each.

        `ready`: per input the tiles that must be stored before it can be loaded.
        """
        end_phase = first_phase + len(phases)
        self.graph.stages.append(Stage(index, tensor, first_phase, end_phase, tuple(tile.region for tile in tiles)))
        total = sum(self._elements(tensor, tile.region) for tile in tiles)
        stored = self.placed[operation.name].word_bytes()[1] if tensor == operation.output else WORD_BYTES
        done = 0
        made: Tiles = []
        for number, tile in enumerate(tiles):
            count = self._elements(tensor, tile.region)
            share = (done, done + count, total)
            done += count
            waits = [] if tile.weights is None else [tile.weights]
            for source, made_before in ready.items():
                waits += self._waits(operation, tensor, source, tile.region, made_before)
            load_bytes = tile.load_bytes + math.ceil(material_per_element * count)
            working = _granules(load_bytes + stored * count)
            if working > self.reserve:
                raise self._too_large(operation)
            load = self._transfer(
                Queue.LOAD, load_bytes, index, number, first_phase, count, tuple(waits), allocates=working
            )
            last: tuple[int, ...] = (load,)
            for offset, part in enumerate(self._tile_phases(operation, tile.region, phases, first_phase, share)):
                last = self._phase(part, index, number, first_phase + offset, count, last, load)
            store = self._transfer(
                Queue.STORE,
                stored * count,
                index,
                number,
                end_phase,
                count,
                last,
                load=load,
                releases=(load,) if tile.weights is None else (load, tile.weights),
            )
            made.append((tile.region, store))
        return made

    def _tile_phases(
        self,
        operation: AnyOperation,
        region: Region,
        phases: Sequence[Phase],
        first_phase: int,
        share: tuple[int, int, int],
    ) -> list[Phase]:
        """A tile's part of each phase: its share of the work and of the words, its own bit planes of a comparison."""
        parts: list[Phase] = []
        for phase in phases:
            if isinstance(phase, Compute):
                parts.append(Compute(phase.kernel, self._tile_cycles(operation, region, phase, share)))
            else:
                first, second = phase.bytes_sent
                parts.append(Exchange((_part(first, share), _part(second, share))))
        start = comparison_start(phases)
        if isinstance(operation, ReluOp | MaxPoolOp) and start < len(phases):
            shape = tile_shape(operation, self.program, region.channels, region.rows)
            own = self.placed[operation.name].phases(shape, self.device)[first_phase:]
            for number in range(start, len(phases)):
                if isinstance(phases[number], Exchange):
                    parts[number] = own[number] if number < len(own) else Exchange((0, 0))
        return parts

    def _tile_cycles(self, operation: AnyOperation, region: Region, phase: Compute, share: tuple[int, int, int]) -> int:
        """A product takes the cycles of its tile's own shape where the array's are known, other work its share."""
        shape = operation_shape(operation, self.program)
        accelerator = self.device.accelerator
        if accelerator is None or phase.kernel != "array" or not isinstance(shape, Conv | Linear):
            return _part(math.ceil(phase.cycles), share)
        return part_cycles(phase.cycles, shape, region.channels, region.rows, accelerator)

    def _phase(
        self, phase: Phase, index: int, tile: int, number: int, count: int, last: tuple[int, ...], load: int
    ) -> tuple[int, ...]:
        if isinstance(phase, Compute):
            cycles = int(phase.cycles)
            if not cycles:
                return last
            return (self._job(KERNEL_QUEUE[phase.kernel], cycles, 0, cycles, index, tile, number, count, last, load),)
        sent = []
        for queue, size in zip((Queue.SEND, Queue.RECEIVE), phase.bytes_sent, strict=True):
            if size:
                cycles = math.ceil(size / self.rates.link_bytes_per_cycle)
                latency = self.rates.latency_cycles
                sent.append(self._job(queue, cycles, latency, size, index, tile, number, count, last, load))
        return tuple(sent) or last

    def _transfer(
        self,
        queue: Queue,
        size: int,
        index: int,
        tile: int,
        phase: int,
        count: int,
        waits: tuple[int, ...],
        load: int | None = None,
        allocates: int = 0,
        weights: bool = False,
        releases: tuple[int, ...] = (),
    ) -> int:
        rate = self.rates.load_bytes_per_cycle if queue is Queue.LOAD else self.rates.store_bytes_per_cycle
        own = len(self.graph.jobs) if load is None else load
        cycles = math.ceil(size / rate)
        return self._job(queue, cycles, 0, size, index, tile, phase, count, waits, own, allocates, weights, releases)

    def _job(
        self,
        queue: Queue,
        duration: int,
        latency: int,
        amount: int,
        index: int,
        tile: int,
        phase: int,
        count: int,
        waits: tuple[int, ...],
        load: int,
        allocates: int = 0,
        weights: bool = False,
        releases: tuple[int, ...] = (),
    ) -> int:
        self.graph.jobs.append(
            Job(queue, duration, latency, amount, index, tile, phase, count, waits, allocates, weights, releases, load)
        )
        return len(self.graph.jobs) - 1

    def _tile_count(self, tensor: str) -> int:
        return max(1, min(self.tiles, self.program.tensor(tensor).elements // LEAST_TILE_ELEMENTS))

    def _regions(self, tensor: str) -> list[Region]:
        """Bands of rows, cut into bands of channels where there are too few rows."""
        channels, rows = channel_count(self.program, tensor), row_count(self.program, tensor)
        count = self._tile_count(tensor)
        down = min(count, rows)
        across = min(channels, -(-count // down))
        return [Region(band, part) for band in split(channels, across) for part in split(rows, down)]

    def _needed_elements(self, operation: AnyOperation, source: str, region: Region) -> int:
        return self._elements(source, needed_of(self.program, operation, source, region))

    def _elements(self, tensor: str, region: Region) -> int:
        return element_count(self.program, tensor, region)

    def _waits(self, operation: AnyOperation, tensor: str, source: str, region: Region, tiles: Tiles) -> list[int]:
        """The stores of `source` that a tile must wait for; flattened tensors wait for all."""
        if len(self.program.tensor(source).shape) == 1:
            return [store for _, store in tiles]
        opening = tensor != operation.output
        needed = region if opening else needed_of(self.program, operation, source, region)
        return [store for made, store in tiles if made.overlaps(needed)]


def _granules(size: float) -> int:
    return -(-math.ceil(size) // BUFFER_GRANULE) * BUFFER_GRANULE


def _part(whole: int, share: tuple[int, int, int]) -> int:
    """The part of an integer that falls to elements [start, stop) of total; parts add up exactly."""
    start, stop, total = share
    return whole * stop // total - whole * start // total
