"""How long the latency table of a search space takes to build and to read from its cache.

    python benchmarks/hardware/latency_table.py [backbone]

Prints milliseconds (median of ten) and their ratio, for the default protocol on the default device.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable

from rrnet_nni.evaluators.space_operators import describe_space
from rrnet_nni.fpga.cost import build_lut
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols import get_costs, protocol_names
from rrnet_nni.search_spaces import SpaceOptions

REPEATS = 10


def median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> int:
    backbone = sys.argv[1] if len(sys.argv) > 1 else "resnet50"
    space = describe_space(backbone, SpaceOptions())
    device, protocol = load_device("zcu104"), get_costs(protocol_names()[0])
    with tempfile.TemporaryDirectory() as cache_dir:
        build_ms = median_ms(lambda: build_lut(space.choices, space.fixed, device, protocol))
        table = build_lut(space.choices, space.fixed, device, protocol, cache_dir)
        read_ms = median_ms(lambda: build_lut(space.choices, space.fixed, device, protocol, cache_dir))
        assert build_lut(space.choices, space.fixed, device, protocol, cache_dir) == table
    entries = sum(map(len, table.entries.values())) + len(table.fixed)
    print(f"{backbone}, {protocol.name}: {entries} entries, built in {build_ms:.1f} ms, read in {read_ms:.1f} ms")
    print(f"reading takes {read_ms / build_ms:.2f} of building")
    return 0


if __name__ == "__main__":
    sys.exit(main())
