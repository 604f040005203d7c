"""The tables of the documentation that follow from code or from docs/results.

    python docs/tables.py            writes them into the pages
    python docs/tables.py --check    exits with 1 where a page shows another table

A table stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.files import write_whole
from rrnet_nni.cli.paper_table import paper_operators
from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.protocols import get_costs, protocol_names

DOCS = Path(__file__).parent
_BLOCK = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@cache
def protocol_latencies() -> str:
    """What replacing every ReLU of ResNet-18 by X2act is worth under each protocol, the dearest first."""
    networks = [paper_operators("resnet18", activation) for activation in ("relu", "x2act")]
    device = load_device("zcu104")
    totals = {
        name: [network_cost(network, device, get_costs(name)).total for network in networks]
        for name in protocol_names()
    }
    rows = []
    for name, (relu, polynomial) in sorted(totals.items(), key=lambda item: -item[1][0].latency_ms):
        gain = relu.latency_ms / polynomial.latency_ms
        sent = [f"{sum(total.bytes_sent) / 1e6:.1f}" for total in (relu, polynomial)]
        before = [f"{sum(total.offline_bytes) / 1e6:.1f}" for total in (relu, polynomial)]
        rows.append(
            [
                f"`{name}`",
                f"{relu.latency_ms:.1f}",
                f"{polynomial.latency_ms:.1f}",
                f"{gain:.0f}x" if gain >= 10 else f"{gain:.1f}x",
                f"{relu.rounds} / {polynomial.rounds}",
                " / ".join(sent),
                "–" if relu.offline_bytes == (0, 0) else " / ".join(before),
            ]
        )
    return markdown(
        ("protocol", "all-ReLU ms", "all-X2act ms", "speed-up", "rounds", "MB sent, both", "MB beforehand, both"), rows
    )


def of_benchmark(script: str, results: str, function: str = "table") -> Callable[[], str]:
    """What a benchmark's script makes of the rows that it has written into docs/results."""

    def made() -> str:
        path = DOCS.parent / "benchmarks" / script
        sys.path.insert(0, str(path.parent))  # scripts of one folder import each other
        try:
            module = importlib.import_module(path.stem)
        finally:
            sys.path.remove(str(path.parent))
        rows = json.loads((DOCS / "results" / results).read_text(encoding="utf-8"))
        return f"{getattr(module, function)(rows)}\n"

    return made


TABLES: Mapping[str, Callable[[], str]] = {
    "protocol-latencies": protocol_latencies,
    "schedule": of_benchmark("hardware/schedule.py", "schedule.json"),
    "model-zoo": of_benchmark("parties/model_zoo.py", "model_zoo.json"),
    "model-zoo-executed": of_benchmark("parties/model_zoo.py", "model_zoo.json", "executed_table"),
    "imagenet": of_benchmark("parties/imagenet.py", "imagenet.json"),
}


def page_with_tables(text: str, where: str) -> str:
    """The page with every table made anew.

    Raises:
        Refusal: it names a table that there is none of.
    """

    def made(block: re.Match[str]) -> str:
        if block[2] not in TABLES:
            raise Refusal(f"{where}: there is no table {block[2]!r}; there are {', '.join(TABLES)}")
        return f"{block[1]}\n{TABLES[block[2]]()}\n{block[3]}"

    return _BLOCK.sub(made, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, say which pages differ")
    options = parser.parse_args()
    stale = []
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        made = page_with_tables(text, str(path))
        if made != text:
            stale.append(path)
            if not options.check:
                write_whole(path, made.encode())
    for path in stale:
        print(f"{path}: {'another table is due' if options.check else 'written'}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
