"""Cut every operation into tiles, and every tile into jobs for the units of the accelerator.

A stage is the part of an operation that works tile by tile: a convolution has two (opening its input, then products),
everything else one. A tile is loaded, passes the protocol's phases and is stored; its buffer on the chip lives from
load to store. Tiles are bands of rows, or of channels where there are few rows or many weights.

Masks and shares of masks are expanded from seeds on the chip and are not loaded: a product reads the opened weights
F = W - B, the opened input and the input's share; other operations read shares and the dealer's corrections.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..devices import Device
from ..errors import Refusal
from ..isa import Queue
from ..operators import Conv, Linear
from ..program import AnyOperation, ConvOp, LinearOp, MaxPoolOp, PadOp, Program, ReluOp, ReshapeOp, SumPoolOp
from ..program_shapes import operation_shape, tile_shape
from ..protocols.base import Compute, Exchange, Phase, Protocol, comparison_start

WORD_BYTES = 4
KERNEL_QUEUE = {"array": Queue.ARRAY, "comparator": Queue.COMPARATOR, "alu": Queue.ALU}
#: Fewer elements than this are not worth a tile of their own.
LEAST_TILE_ELEMENTS = 256
BUFFER_GRANULE = 64
LOAD_PORTS, STORE_PORTS = 3, 1


def tile_reserve(device: Device) -> int:
    """Bytes of buffer that weights never take, so that tiles can always go on."""
    return device.buffer_bytes // 4 // BUFFER_GRANULE * BUFFER_GRANULE


@dataclass(frozen=True)
class Region:
    """Half-open ranges of channels and rows of a tensor."""

    channels: tuple[int, int]
    rows: tuple[int, int]

    def halves(self) -> list[Region]:
        """Two halves by rows, or by channels where there is one row; none of a single row of a single channel."""
        for rows in (True, False):
            start, end = self.rows if rows else self.channels
            middle = (start + end) // 2
            if start < middle:
                parts = ((start, middle), (middle, end))
                return [Region(self.channels, part) if rows else Region(part, self.rows) for part in parts]
        return []

    def overlaps(self, other: Region) -> bool:
        return (
            self.channels[0] < other.channels[1]
            and other.channels[0] < self.channels[1]
            and self.rows[0] < other.rows[1]
            and other.rows[0] < self.rows[1]
        )


@dataclass(frozen=True)
class Job:
    """One occupation of one queue: `duration` cycles, then `latency` more until its result is there."""

    queue: Queue
    duration: int
    latency: int
    amount: int
    operation: int
    tile: int
    phase: int
    count: int
    dependencies: tuple[int, ...]
    #: Bytes of buffer that a load takes, from the pool for weights or the one for tiles.
    allocates: int = 0
    weights: bool = False
    #: Loads whose buffers this store gives back; a buffer is free when all of its stores are done.
    releases: tuple[int, ...] = ()
    #: The load whose buffer this job works on.
    load: int = 0


Tiles: TypeAlias = list[tuple[Region, int]]


@dataclass(frozen=True)
class _Tile:
    """A region to make, the bytes of inputs that it loads, and the load of its weights."""

    region: Region
    load_bytes: int
    weights: int | None = None


@dataclass(frozen=True)
class Stage:
    """Tiles of one stage: phases [first_phase, end_phase) of the operation, on these regions of `tensor`."""

    operation: int
    tensor: str
    first_phase: int
    end_phase: int
    regions: tuple[Region, ...]


@dataclass
class JobGraph:
    """All jobs of one image, in an order that respects dependencies, and the tiles that they work on."""

    jobs: list[Job] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)


@dataclass(frozen=True)
class Rates:
    """Transfers per clock cycle: three memory ports load and one stores, as far as the memory keeps up."""

    load_bytes_per_cycle: float
    store_bytes_per_cycle: float
    link_bytes_per_cycle: float
    latency_cycles: int

    @staticmethod
    def of(device: Device) -> Rates:
        memory = device.ddr_bytes_per_s * device.ddr_efficiency / device.clock_hz
        port = min(device.bus_bytes_per_cycle, memory / (LOAD_PORTS + STORE_PORTS))
        return Rates(
            LOAD_PORTS * port,
            STORE_PORTS * port,
            device.bandwidth_bytes_per_s / device.clock_hz,
            round(device.message_latency_s * device.clock_hz),
        )


def build_jobs(program: Program, device: Device, protocol: Protocol, tiles: int) -> JobGraph:
    """Jobs of the whole program, every operation in about `tiles` tiles.

    Raises:
        Refusal: a tile does not fit the device's buffers however small it is.
    """
    builder = _Builder(program, device, protocol, tiles)
    for index, operation in enumerate(program.operations):
        builder.add(index, operation)
    return builder.graph


class _Builder:
    def __init__(self, program: Program, device: Device, protocol: Protocol, tiles: int) -> None:
        self.program, self.device, self.protocol, self.tiles = program, device, protocol, tiles
        self.rates = Rates.of(device)
        self.reserve = tile_reserve(device)
        self.graph = JobGraph()
        self.made: dict[str, Tiles] = {program.input: []}

    def add(self, index: int, operation: AnyOperation) -> None:
        if isinstance(operation, ReshapeOp):
            self.made[operation.output] = self.made[operation.inputs[0]]
            return
        shape = operation_shape(operation, self.program)
        phases = self.protocol.phases(shape, self.device)
        if isinstance(operation, ConvOp | LinearOp) and isinstance(shape, Conv | Linear):
            self._add_product(index, operation, shape, phases)
            return
        material = sum(self.protocol.offline_bytes(shape)) / self.program.tensor(operation.output).elements

        def load_bytes(region: Region) -> int:
            return WORD_BYTES * sum(self._needed_elements(operation, name, region) for name in operation.inputs)

        def working_bytes(region: Region) -> int:
            return load_bytes(region) + math.ceil((material + WORD_BYTES) * self._elements(operation.output, region))

        regions = self._fitting(operation, self._elementwise_regions(operation), working_bytes)
        tiles = [_Tile(region, load_bytes(region)) for region in regions]
        self.made[operation.output] = self._stage(
            index, operation, operation.output, phases, 0, tiles, material, operation.inputs
        )

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
        split = next((i for i, phase in enumerate(phases) if isinstance(phase, Compute) and phase.kernel == "array"), 0)
        source = operation.inputs[0]
        opened = self.made[source]
        if split:
            regions = [region for region, _ in opened] if self._fits(source) else self._regions(source)
            regions = self._fitting(operation, regions, lambda region: 2 * WORD_BYTES * self._elements(source, region))
            tiles = [_Tile(region, WORD_BYTES * self._elements(source, region)) for region in regions]
            opened = self._stage(index, operation, source, phases[:split], 0, tiles, 0.0, (source,))
        tiles = []
        bands, rows = self._product_grid(operation, shape)
        for number, band in enumerate(bands):
            size = _granules(WORD_BYTES * shape.weights * (band[1] - band[0]) / self._channels(operation))
            weights = self._transfer(Queue.LOAD, size, index, number, split, 0, (), allocates=size, weights=True)
            for row in rows:
                region = Region(band, row)
                inputs = 2 * WORD_BYTES * self._needed_elements(operation, source, region)
                tiles.append(_Tile(region, inputs, weights))
        self.made[operation.output] = self._stage(
            index, operation, operation.output, phases[split:], split, tiles, float(WORD_BYTES), (source,), opened
        )

    def _product_grid(
        self, operation: ConvOp | LinearOp, shape: Conv | Linear
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Bands of channels whose weights fit half of their pool, times bands of rows."""
        channels, rows = self._channels(operation), self._rows(operation.output)
        count = self._tile_count(operation.output)
        weights_limit = (self.device.buffer_bytes - self.reserve) // 4
        down = min(count, rows)
        across = min(channels, max(-(-WORD_BYTES * shape.weights // weights_limit), -(-count // down)))
        while True:
            bands, parts = _split(channels, across), _split(rows, down)
            widest = max(end - start for start, end in bands)
            if WORD_BYTES * shape.weights * widest / channels > weights_limit:
                if across == channels:
                    raise self._too_large(operation)
                across = min(channels, 2 * across)
                continue
            if all(self._product_bytes(operation, Region(bands[0], part)) <= self.reserve // 2 for part in parts):
                return bands, parts
            if down == rows:
                if across == channels:
                    raise self._too_large(operation)
                across = min(channels, 2 * across)
            down = min(rows, 2 * down)

    def _product_bytes(self, operation: AnyOperation, region: Region) -> int:
        inputs = 2 * WORD_BYTES * self._needed_elements(operation, operation.inputs[0], region)
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
        sources: tuple[str, ...],
        opened: Tiles | None = None,
    ) -> Tiles:
        """Append the jobs of one stage; returns its tiles with the job that stores each."""
        end_phase = first_phase + len(phases)
        self.graph.stages.append(Stage(index, tensor, first_phase, end_phase, tuple(tile.region for tile in tiles)))
        total = sum(self._elements(tensor, tile.region) for tile in tiles)
        done = 0
        made: Tiles = []
        for number, tile in enumerate(tiles):
            count = self._elements(tensor, tile.region)
            share = (done, done + count, total)
            done += count
            waits = [] if tile.weights is None else [tile.weights]
            for source in sources:
                made_before = self.made[source] if opened is None else opened
                waits += self._waits(operation, tensor, source, tile.region, made_before)
            load_bytes = tile.load_bytes + math.ceil(material_per_element * count)
            working = _granules(load_bytes + WORD_BYTES * count)
            if working > self.reserve:
                raise self._too_large(operation)
            load = self._transfer(
                Queue.LOAD, load_bytes, index, number, first_phase, count, tuple(waits), allocates=working
            )
            last: tuple[int, ...] = (load,)
            for offset, part in enumerate(self._tile_phases(operation, tile.region, phases, share)):
                last = self._phase(part, index, number, first_phase + offset, count, last, load)
            store = self._transfer(
                Queue.STORE,
                WORD_BYTES * count,
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
        self, operation: AnyOperation, region: Region, phases: Sequence[Phase], share: tuple[int, int, int]
    ) -> list[Phase]:
        """A tile's part of each phase: its share of the work and of the words, its own bit planes of a comparison."""
        parts: list[Phase] = []
        for phase in phases:
            if isinstance(phase, Compute):
                parts.append(Compute(phase.kernel, _part(math.ceil(phase.cycles), share)))
            else:
                first, second = phase.bytes_sent
                parts.append(Exchange((_part(first, share), _part(second, share))))
        if isinstance(operation, ReluOp | MaxPoolOp):
            shape = tile_shape(operation, self.program, region.channels, region.rows)
            own = self.protocol.phases(shape, self.device)
            for number in range(comparison_start(phases), len(phases)):
                if isinstance(phases[number], Exchange):
                    parts[number] = own[number] if number < len(own) else Exchange((0, 0))
        return parts

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

    def _rows(self, tensor: str) -> int:
        shape = self.program.tensor(tensor).shape
        return shape[1] if len(shape) == 3 else 1

    def _elements(self, tensor: str, region: Region) -> int:
        shape = self.program.tensor(tensor).shape
        width = shape[2] if len(shape) == 3 else 1
        return (region.channels[1] - region.channels[0]) * (region.rows[1] - region.rows[0]) * width

    def _tile_count(self, tensor: str) -> int:
        return max(1, min(self.tiles, self.program.tensor(tensor).elements // LEAST_TILE_ELEMENTS))

    def _regions(self, tensor: str) -> list[Region]:
        """Bands of rows, or of channels where there are too few rows."""
        channels, rows = self.program.tensor(tensor).shape[0], self._rows(tensor)
        count = self._tile_count(tensor)
        if rows >= count:
            return [Region((0, channels), band) for band in _split(rows, count)]
        return [Region(band, (0, rows)) for band in _split(channels, min(count, channels))]

    def _needed(self, operation: AnyOperation, tensor: str, source: str, region: Region) -> Region:
        """What a tile of `tensor` reads of `source`."""
        shape = self.program.tensor(source).shape
        whole = Region((0, shape[0]), (0, self._rows(source)))
        if tensor != operation.output or shape == self.program.tensor(tensor).shape:
            same = not isinstance(operation, ConvOp | LinearOp | MaxPoolOp | SumPoolOp) or tensor != operation.output
            if same:
                return region
        match operation:
            case ConvOp() | MaxPoolOp() | SumPoolOp():
                kernel, step = _height(operation, self.program), operation.stride[0]
                top = max(0, region.rows[0] * step - operation.padding[0])
                bottom = min(self._rows(source), (region.rows[1] - 1) * step - operation.padding[0] + kernel)
                bands = (top, max(top, bottom))
                depthwise = isinstance(operation, ConvOp) and operation.groups == shape[0] == self._channels(operation)
                keep = depthwise or not isinstance(operation, ConvOp)
                return Region(region.channels if keep else (0, shape[0]), bands)
            case PadOp(padding=padding):
                top = max(0, region.rows[0] - padding[0])
                return Region(region.channels, (top, max(top, min(shape[1], region.rows[1] - padding[0]))))
        return whole

    def _channels(self, operation: AnyOperation) -> int:
        return self.program.tensor(operation.output).shape[0]

    def _needed_elements(self, operation: AnyOperation, source: str, region: Region) -> int:
        return self._elements(source, self._needed(operation, operation.output, source, region))

    def _waits(self, operation: AnyOperation, tensor: str, source: str, region: Region, tiles: Tiles) -> list[int]:
        """The stores of `source` that a tile must wait for; flattened tensors wait for all."""
        if len(self.program.tensor(source).shape) == 1:
            return [store for _, store in tiles]
        needed = self._needed(operation, tensor, source, region)
        return [store for made, store in tiles if made.overlaps(needed)]


def _height(operation: ConvOp | MaxPoolOp | SumPoolOp, program: Program) -> int:
    if isinstance(operation, ConvOp):
        return program.constants[operation.weight].shape[2]
    return operation.kernel[0]


def _granules(size: float) -> int:
    return -(-math.ceil(size) // BUFFER_GRANULE) * BUFFER_GRANULE


def _split(size: int, parts: int) -> list[tuple[int, int]]:
    """`parts` nearly equal ranges of 0..size."""
    edges = [size * index // parts for index in range(parts + 1)]
    return list(itertools.pairwise(edges))


def _part(whole: int, share: tuple[int, int, int]) -> int:
    """The part of an integer that falls to elements [start, stop) of total; parts add up exactly."""
    start, stop, total = share
    return whole * stop // total - whole * start // total
