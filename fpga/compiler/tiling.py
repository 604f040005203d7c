"""Cut every operation into tiles, and every tile into jobs for the units of the accelerator.

A stage is the part of an operation that works tile by tile: a convolution has two (opening its input, then products),
everything else one. A tile is loaded, passes the protocol's phases and is stored; its buffer on the chip lives from
load to store. Tiles are bands of rows, or of channels where there are few rows or many weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..devices import Device
from ..errors import Refusal
from ..isa import Queue
from ..operators import Conv, Linear
from ..program import AnyOperation, ConvOp, LinearOp, MaxPoolOp, PadOp, Program, ReshapeOp, SumPoolOp
from ..program_shapes import operation_shape
from ..protocols.base import Compute, Phase, Protocol

WORD_BYTES = 4
KERNEL_QUEUE = {"array": Queue.ARRAY, "comparator": Queue.COMPARATOR, "alu": Queue.ALU}
#: Fewer elements than this are not worth a tile of their own.
LEAST_TILE_ELEMENTS = 256
BUFFER_GRANULE = 64


@dataclass(frozen=True)
class Region:
    """Half-open ranges of channels and rows of a tensor."""

    channels: tuple[int, int]
    rows: tuple[int, int]

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
    #: Bytes of on-chip buffer that a load takes, and the load whose buffer a store gives back.
    allocates: int = 0
    releases: int | None = None
    load: int = 0


Tiles: TypeAlias = list[tuple[Region, int]]


@dataclass
class JobGraph:
    """All jobs of one image, in an order that respects dependencies."""

    jobs: list[Job] = field(default_factory=list)


@dataclass(frozen=True)
class Rates:
    """Cycles of the device for transfers. Load and store share the memory's bandwidth equally."""

    memory_bytes_per_cycle: float
    link_bytes_per_cycle: float
    latency_cycles: int

    @staticmethod
    def of(device: Device) -> Rates:
        return Rates(
            device.ddr_bytes_per_s * device.ddr_efficiency / device.clock_hz / 2,
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
        self.graph = JobGraph()
        self.made: dict[str, Tiles] = {program.input: []}

    def add(self, index: int, operation: AnyOperation) -> None:
        if isinstance(operation, ReshapeOp):
            self.made[operation.output] = self.made[operation.inputs[0]]
            return
        shape = operation_shape(operation, self.program)
        phases = self.protocol.phases(shape, self.device)
        material = sum(self.protocol.offline_bytes(shape)) if not isinstance(operation, ConvOp | LinearOp) else 0
        if isinstance(operation, ConvOp | LinearOp) and isinstance(shape, Conv | Linear):
            self._add_product(index, operation, shape, phases)
        else:
            regions = self._regions(operation.output, self.tiles)
            loads = [
                (sum(self._needed_elements(operation, name, region) for name in operation.inputs) * WORD_BYTES, region)
                for region in regions
            ]
            total = sum(self._elements(operation.output, region) for region in regions)
            self.made[operation.output] = self._stage(
                index, operation, operation.output, phases, 0, loads, material / total, operation.inputs
            )

    def _add_product(
        self, index: int, operation: ConvOp | LinearOp, shape: Conv | Linear, phases: Sequence[Phase]
    ) -> None:
        """Open the input tile by tile, then multiply: row bands share all weights, channel bands all of the input."""
        split = next((i for i, phase in enumerate(phases) if isinstance(phase, Compute) and phase.kernel == "array"), 0)
        source = operation.inputs[0]
        opened = self.made[source]
        if split:
            regions = self._regions(source, self.tiles)
            loads = [(2 * WORD_BYTES * self._elements(source, region), region) for region in regions]
            opened = self._stage(index, operation, source, phases[:split], 0, loads, 0.0, (source,))
        regions = self._product_regions(operation, shape)
        channels = self.program.tensor(operation.output).shape[0]
        loads = []
        for region in regions:
            share = (region.channels[1] - region.channels[0]) / channels
            weights = math.ceil(2 * WORD_BYTES * shape.weights * share)
            inputs = 2 * WORD_BYTES * self._needed_elements(operation, source, region)
            loads.append((weights + inputs, region))
        self.made[operation.output] = self._stage(
            index, operation, operation.output, phases[split:], split, loads, float(WORD_BYTES), (source,), opened
        )

    def _product_regions(self, operation: ConvOp | LinearOp, shape: Conv | Linear) -> list[Region]:
        """Bands of rows or of channels, whichever loads less, cut further until a tile fits half of the buffer."""
        channels = self.program.tensor(operation.output).shape[0]
        rows = self._rows(operation.output)
        count = self._tile_count(operation.output, self.tiles)
        by_rows, by_channels = min(count, rows), min(count, channels)
        row_traffic = by_rows * shape.weights + shape.input_elements
        channel_traffic = by_channels * shape.input_elements + shape.weights
        grid = (by_rows, 1) if rows > 1 and row_traffic <= channel_traffic else (1, by_channels)
        while True:
            regions = [Region(c, r) for r in _split(rows, grid[0]) for c in _split(channels, grid[1])]
            if (
                max(self._product_bytes(operation, shape, region, channels) for region in regions)
                <= self._half_buffer()
            ):
                return regions
            if grid[1] < channels:
                grid = (grid[0], min(channels, 2 * grid[1]))
            elif grid[0] < rows:
                grid = (min(rows, 2 * grid[0]), grid[1])
            else:
                raise self._too_large(operation)

    def _product_bytes(self, operation: AnyOperation, shape: Conv | Linear, region: Region, channels: int) -> int:
        weights = 2 * WORD_BYTES * shape.weights * (region.channels[1] - region.channels[0]) / channels
        inputs = 2 * WORD_BYTES * self._needed_elements(operation, operation.inputs[0], region)
        return math.ceil(weights) + inputs + 2 * WORD_BYTES * self._elements(operation.output, region)

    def _half_buffer(self) -> int:
        return self.device.buffer_bytes // 2

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
        loads: Sequence[tuple[int, Region]],
        material_per_element: float,
        sources: tuple[str, ...],
        opened: Tiles | None = None,
    ) -> Tiles:
        """Append the jobs of one stage; returns its tiles with the job that stores each."""
        total = sum(self._elements(tensor, region) for _, region in loads)
        done = 0
        made: Tiles = []
        for tile, (load_bytes, region) in enumerate(loads):
            count = self._elements(tensor, region)
            share = (done, done + count, total)
            done += count
            waits: list[int] = []
            for source in sources:
                tiles = self.made[source] if opened is None else opened
                waits += self._waits(operation, tensor, source, region, tiles)
            load_bytes += math.ceil(material_per_element * count)
            working = -(-(load_bytes + WORD_BYTES * count) // BUFFER_GRANULE) * BUFFER_GRANULE
            if working > self.device.buffer_bytes:
                raise self._too_large(operation)
            load = self._transfer(Queue.LOAD, load_bytes, index, tile, first_phase, count, tuple(waits), 0, working)
            last: tuple[int, ...] = (load,)
            for offset, phase in enumerate(phases):
                last = self._phase(phase, share, index, tile, first_phase + offset, count, last, load)
            store = self._transfer(
                Queue.STORE, WORD_BYTES * count, index, tile, first_phase + len(phases), count, last, load, 0, load
            )
            made.append((region, store))
        return made

    def _phase(
        self,
        phase: Phase,
        share: tuple[int, int, int],
        index: int,
        tile: int,
        number: int,
        count: int,
        last: tuple[int, ...],
        load: int,
    ) -> tuple[int, ...]:
        if isinstance(phase, Compute):
            cycles = _part(math.ceil(phase.cycles), share)
            if not cycles:
                return last
            return (self._job(KERNEL_QUEUE[phase.kernel], cycles, 0, cycles, index, tile, number, count, last, load),)
        sent = []
        for queue, whole in zip((Queue.SEND, Queue.RECEIVE), phase.bytes_sent, strict=True):
            if whole:
                size = _part(whole, share)
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
        load: int,
        allocates: int = 0,
        releases: int | None = None,
    ) -> int:
        cycles = math.ceil(size / self.rates.memory_bytes_per_cycle)
        load = len(self.graph.jobs) if queue is Queue.LOAD else load
        return self._job(queue, cycles, 0, size, index, tile, phase, count, waits, load, allocates, releases)

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
        releases: int | None = None,
    ) -> int:
        self.graph.jobs.append(
            Job(queue, duration, latency, amount, index, tile, phase, count, waits, allocates, releases, load)
        )
        return len(self.graph.jobs) - 1

    def _rows(self, tensor: str) -> int:
        shape = self.program.tensor(tensor).shape
        return shape[1] if len(shape) == 3 else 1

    def _elements(self, tensor: str, region: Region) -> int:
        shape = self.program.tensor(tensor).shape
        width = shape[2] if len(shape) == 3 else 1
        return (region.channels[1] - region.channels[0]) * (region.rows[1] - region.rows[0]) * width

    def _tile_count(self, tensor: str, tiles: int) -> int:
        return max(1, min(tiles, self.program.tensor(tensor).elements // LEAST_TILE_ELEMENTS))

    def _regions(self, tensor: str, tiles: int) -> list[Region]:
        """About `tiles` bands of rows, or of channels where there are too few rows."""
        channels, rows = self.program.tensor(tensor).shape[0], self._rows(tensor)
        count = self._tile_count(tensor, tiles)
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


def _split(size: int, parts: int) -> list[tuple[int, int]]:
    """`parts` nearly equal ranges of 0..size."""
    edges = [size * index // parts for index in range(parts + 1)]
    return list(itertools.pairwise(edges))


def _part(whole: int, share: tuple[int, int, int]) -> int:
    """The part of an integer that falls to elements [start, stop) of total; parts add up exactly."""
    start, stop, total = share
    return whole * stop // total - whole * start // total
