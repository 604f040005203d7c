"""`rrnet latency`: what one network costs under a two-party protocol, and what would save most."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrnet_nni.base.caches import cache_folder
from rrnet_nni.base.console import add_common_options, print_json
from rrnet_nni.base.errors import Refusal
from rrnet_nni.base.tables import text_table
from rrnet_nni.fpga.cost.explain import Saving, bottleneck, savings
from rrnet_nni.fpga.cost.latency import OperatorCost
from rrnet_nni.fpga.cost.lut import build_lut
from rrnet_nni.fpga.cost.lut_table import diff_tables, draw_table, format_table, table_to_dict
from rrnet_nni.fpga.cost.network import NetworkCost, network_cost
from rrnet_nni.fpga.cost.sweep import Sweep, sweep
from rrnet_nni.fpga.cost.sweep_map import draw_sweeps
from rrnet_nni.fpga.cost.text import COST_HEADER, cost_columns
from rrnet_nni.fpga.devices import Device, load_device
from rrnet_nni.fpga.program.operators import NamedOperator
from rrnet_nni.fpga.protocols import get_costs, protocol_names

from .networks import add_network_options, load_operators, load_space, replacement_distortions

EXAMPLE = """\
examples:
  rrnet latency resnet18 --protocol paper
  rrnet latency resnet50 --activation x2act --pooling avgpool --device zcu104-gigabit
  rrnet latency runs/one/architecture.json --explain
  rrnet latency model.onnx --json
  rrnet latency resnet18 --table --protocol beaver-ot --protocol masked
  rrnet latency resnet18 --sweep map.png
"""
#: Round trips of the sweep's text: every decade of the grid.
SHOWN_ROUND_TRIPS = slice(None, None, 6)


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "latency",
        description="Price a backbone with fixed choices, a searched architecture or an ONNX classifier.",
        epilog=EXAMPLE,
    )
    add_network_options(parser)
    parser.add_argument("--device", default="zcu104", help="name or .yaml file of the device (default: %(default)s)")
    parser.add_argument(
        "--protocol",
        action="append",
        help=f"{', '.join(protocol_names())} (default: {protocol_names()[0]}; default of --sweep: all)",
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at once (default: %(default)s)")
    view = parser.add_mutually_exclusive_group()
    view.add_argument("--explain", action="store_true", help="operators by cost, and which replacement saves most")
    view.add_argument(
        "--table",
        nargs="?",
        const="",
        metavar="FILE.png",
        help="the latency table of the search space; with two protocols, what differs; draws it into FILE",
    )
    view.add_argument(
        "--sweep",
        nargs="?",
        const="",
        metavar="FILE.png",
        help="on which networks replacing comparisons halves the latency; draws the map into FILE",
    )
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    device = load_device(options.device)
    if options.table is not None:
        return _run_table(options, device)
    title, operators = load_operators(options)
    if options.sweep is not None:
        return _run_sweep(options, title, operators, device)
    if options.protocol and len(options.protocol) > 1:
        raise Refusal("--protocol: more than one protocol goes with --sweep or --table only")
    protocol = get_costs((options.protocol or protocol_names())[0])
    cost = network_cost(operators, device, protocol, options.batch)
    distortions = replacement_distortions(options.network) if options.explain else None
    saved = savings(operators, device, protocol, options.batch, distortions) if options.explain else []
    if options.json:
        answer = {"network": title, "device": device.name, "protocol": protocol.name} | network_answer(cost)
        print_json(answer | ({"savings": [_saving_answer(saving) for saving in saved]} if options.explain else {}))
        return 0
    print(f"{title}: protocol {protocol.name}, device {device.name}, {_images(options.batch)}\n")
    print(_network_text(cost, by_cost=options.explain))
    if options.explain:
        print(_explanation(cost, saved))
    return 0


def network_answer(cost: NetworkCost) -> dict[str, Any]:
    """The cost of a network as JSON values."""
    return {
        **_cost_answer(cost.total),
        "pipelined_ms": cost.pipelined_ms,
        "relus": cost.relus,
        "batch": cost.batch,
        "energy_j": cost.energy.joules,
        "energy_assumption": cost.energy.assumption,
        "operators": [
            {"name": row.name, "kind": row.kind, **_cost_answer(row.cost), "pipelined_ms": row.pipelined_ms}
            for row in cost.rows
        ],
    }


def _cost_answer(cost: OperatorCost) -> dict[str, Any]:
    return {
        "latency_ms": cost.latency_ms,
        "compute_ms": cost.compute_ms,
        "communication_ms": cost.communication_ms,
        "transfer_ms": cost.transfer_ms,
        "message_ms": cost.message_ms,
        "rounds": cost.rounds,
        "bytes_sent": list(cost.bytes_sent),
        "offline_bytes": list(cost.offline_bytes),
        "offline_ms": cost.offline_ms,
        "setup_bytes": list(cost.setup_bytes),
        "comparisons": cost.comparisons,
    }


def _saving_answer(saving: Saving) -> dict[str, Any]:
    return {
        "name": saving.name,
        "replacement": type(saving.replacement).__name__.lower(),
        "saved_ms": saving.saved_ms,
        "saved_comparisons": saving.saved_comparisons,
        "distortion": saving.distortion,
    }


def _images(batch: int) -> str:
    return "one image" if batch == 1 else f"{batch} images"


def _network_text(cost: NetworkCost, by_cost: bool) -> str:
    rows = sorted(cost.rows, key=lambda row: -row.cost.latency_ms) if by_cost else cost.rows
    lines = [(row.name, row.kind, *cost_columns(row.cost)) for row in rows]
    lines.append(("total", "", *cost_columns(cost.total)))
    return (
        text_table(("operator", "kind", *COST_HEADER), lines, left=2)
        + f"\n{cost.total.latency_ms:.3f} ms one after the other, {cost.pipelined_ms:.3f} ms with the tiles of each"
        f" operator overlapping; {cost.relus} ReLUs, {cost.total.comparisons} comparisons"
        f"\noffline {sum(cost.total.offline_bytes)} B, {cost.total.offline_ms:.3f} ms to hand out"
        f"\nenergy {cost.energy.joules:.3f} J, assuming {cost.energy.assumption}"
    )


def _explanation(cost: NetworkCost, saved: Sequence[Saving]) -> str:
    comparing_ms = sum(row.cost.latency_ms for row in cost.rows if row.cost.comparisons)
    share = comparing_ms / cost.total.latency_ms if cost.total.latency_ms else 0.0
    lines = [f"\n{bottleneck(cost.total)}; comparisons take {share:.0%}."]
    if not saved:
        return lines[0] + " No comparison is left to replace."
    measured = any(saving.distortion is not None for saving in saved)
    by = "by the accuracy that a saved millisecond costs (nats per image and ms)" if measured else "by what it saves"
    lines.append(f"Which to replace next, {by}:\n")
    table = text_table(
        ("operator", "by", "saves ms", "of all", "comparisons", "us each", *(("nats/ms",) if measured else ())),
        [
            (
                saving.name,
                type(saving.replacement).__name__.lower(),
                f"{saving.saved_ms:.4f}",
                f"{saving.saved_ms / cost.total.latency_ms:.1%}",
                f"{saving.saved_comparisons}",
                f"{saving.saved_us_per_comparison:.4f}",
                *((_nats(saving.distortion_per_ms),) if measured else ()),
            )
            for saving in saved
        ],
        left=2,
    )
    return "\n".join(lines) + "\n" + table.rstrip("\n")


def _nats(distortion_per_ms: float | None) -> str:
    return "–" if distortion_per_ms is None else f"{distortion_per_ms:.4g}"


def _run_table(options: argparse.Namespace, device: Device) -> int:
    if options.batch != 1:
        raise Refusal("--table: the latency table is for one image: drop --batch")
    _, space = load_space(options)
    names = options.protocol or [protocol_names()[0]]
    if len(names) > 2:
        raise Refusal("--table: expected one protocol, or two to see what differs")
    cache_dir = cache_folder("latency")
    tables = [build_lut(space.choices, space.fixed, device, get_costs(name), cache_dir, space.slices) for name in names]
    if options.table:
        draw_table(tables[0], Path(options.table))
    if options.json:
        answers = [table_to_dict(table) for table in tables]
        print_json(answers[0] if len(answers) == 1 else answers)
    elif len(tables) == 2:
        print(diff_tables(*tables), end="")
    else:
        print(format_table(tables[0]), end="")
    return 0


def _run_sweep(options: argparse.Namespace, title: str, operators: list[NamedOperator], device: Device) -> int:
    protocols = [get_costs(name) for name in options.protocol or protocol_names()]
    results = [sweep(operators, device, protocol, options.batch) for protocol in protocols]
    if options.sweep:
        draw_sweeps(results, title, Path(options.sweep))
    if options.json:
        figure = options.sweep or None
        print_json({"network": title, "device": device.name, "figure": figure, "maps": [_map(one) for one in results]})
        return 0
    print(f"{title}: device {device.name}, {_images(options.batch)}")
    print("MB/s at which replacing every ReLU and MaxPool at least halves the latency (speed-up over all bandwidths)\n")
    rows = [[f"{trip * 1e3:g} ms", *(_bands(one, row) for one in results)] for row, trip in _shown_trips(results)]
    print(text_table(("round trip", *(one.protocol for one in results)), rows), end="")
    return 0


def _shown_trips(results: Sequence[Sweep]) -> list[tuple[int, float]]:
    return list(enumerate(results[0].round_trips_s))[SHOWN_ROUND_TRIPS]


def _bands(result: Sweep, row: int) -> str:
    """The bands of bandwidth in words, and the range of the speed-up."""
    grid, speed_up = result.bandwidths_bytes_per_s, result.speed_up[row]
    words = []
    for lowest, highest in result.bottleneck_bands(row):
        if lowest == grid[0] and highest == grid[-1]:
            words.append("everywhere")
        elif lowest == grid[0]:
            words.append(f"to {highest / 1e6:,.0f}")
        elif highest == grid[-1]:
            words.append(f"from {lowest / 1e6:,.0f}")
        else:
            words.append(f"{lowest / 1e6:,.0f} to {highest / 1e6:,.0f}")
    return f"{', '.join(words) or 'nowhere'} ({speed_up.min():.1f}-{speed_up.max():.1f}x)"


def _map(result: Sweep) -> dict[str, Any]:
    return {
        "protocol": result.protocol,
        "bandwidths_bytes_per_s": result.bandwidths_bytes_per_s.tolist(),
        "round_trips_s": result.round_trips_s.tolist(),
        "latency_ms": result.latency_ms.tolist(),
        "speed_up": result.speed_up.tolist(),
    }
