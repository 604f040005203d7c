"""Jobs: what occupies one queue of the accelerator for a while, and the stages whose tiles they work on."""

from __future__ import annotations

from dataclasses import dataclass

from ...devices import Device
from ...program.isa import Queue
from .regions import Region

BUFFER_GRANULE = 64
LOAD_PORTS, STORE_PORTS = 3, 1


@dataclass(slots=True)  # and not frozen: a program has tens of thousands, which are made four times as fast
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


@dataclass(frozen=True)
class Stage:
    """Tiles of one stage: phases [first_phase, end_phase) of the operation, on these regions of `tensor`.

    Their jobs are [first_job, end_job) of the graph's.
    """

    operation: int
    tensor: str
    first_phase: int
    end_phase: int
    regions: tuple[Region, ...]
    first_job: int
    end_job: int


@dataclass(frozen=True)
class Rates:
    """Transfers per clock cycle: three memory ports load and one stores, as far as the memory keeps up.

    An accelerator of ours stores over the write channels of as many ports as its device says, with what the loads leave
    of the memory's rate.
    """

    load_bytes_per_cycle: float
    store_bytes_per_cycle: float
    link_bytes_per_cycle: float
    latency_cycles: int

    @staticmethod
    def of(device: Device) -> Rates:
        memory = device.ddr_bytes_per_s * device.ddr_efficiency / device.clock_hz
        port = min(device.bus_bytes_per_cycle, memory / (LOAD_PORTS + STORE_PORTS))
        store = STORE_PORTS * port
        if device.accelerator is not None:
            store = min(device.accelerator.store_ports * device.bus_bytes_per_cycle, memory - LOAD_PORTS * port)
        return Rates(
            LOAD_PORTS * port,
            store,
            device.bandwidth_bytes_per_s / device.clock_hz,
            round(device.message_latency_s * device.clock_hz),
        )
