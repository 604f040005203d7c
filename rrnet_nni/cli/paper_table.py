"""`rrnet paper-table`: the ten latencies of Fig. 3(b) beside what the cost model says."""

from __future__ import annotations

import argparse
from functools import cache
from typing import Any

from rrnet_nni.base.console import add_common_options, print_json
from rrnet_nni.base.tables import text_table
from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.cost.published import PUBLISHED_LATENCIES
from rrnet_nni.fpga.devices import Device, load_device
from rrnet_nni.fpga.program.operators import NamedOperator
from rrnet_nni.fpga.protocols import ProtocolCosts, get_costs, protocol_names

EXAMPLE = """\
example:
  rrnet paper-table
  rrnet paper-table --protocol beaver-ot --json
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "paper-table",
        description="Price the paper's five networks, all-ReLU and all-polynomial, and compare with Fig. 3(b).",
        epilog=EXAMPLE,
    )
    parser.add_argument("--device", default="zcu104", help="name or .yaml file of the device (default: %(default)s)")
    parser.add_argument("--protocol", default="paper", help=f"{', '.join(protocol_names())} (default: %(default)s)")
    add_common_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    device, protocol = load_device(options.device), get_costs(options.protocol)
    rows = paper_rows(device, protocol)
    if options.json:
        print_json(rows)
        return 0
    print(
        text_table(
            ("network", "activation", "paper ms", "model ms", "error"),
            (
                (
                    row["network"],
                    row["choice"],
                    f"{row['paper_ms']:.1f}",
                    f"{row['model_ms']:.1f}",
                    f"{row['error']:+.2%}",
                )
                for row in rows
            ),
            left=2,
        ),
        end="",
    )
    print(f"\nprotocol {protocol.name}, device {device.name}; constants fitted to published latencies:")
    for key, origin in device.provenance.items():
        if origin.kind == "fitted":
            print(f"  {key} = {getattr(device, key):g}: {origin.source}")
    return 0


def paper_rows(device: Device, protocol: ProtocolCosts) -> list[dict[str, Any]]:
    """Ten rows: network, choice, paper_ms, model_ms, error (relative)."""
    rows = []
    for published in PUBLISHED_LATENCIES:
        for activation in ("relu", "x2act"):
            operators = paper_operators(published.network, activation)
            model_ms = network_cost(operators, device, protocol).total.latency_ms
            paper_ms = published.latency_ms(activation)
            rows.append(
                {
                    "network": published.network,
                    "choice": activation,
                    "paper_ms": paper_ms,
                    "model_ms": model_ms,
                    "error": model_ms / paper_ms - 1,
                }
            )
    return rows


@cache
def paper_operators(network: str, activation: str) -> tuple[NamedOperator, ...]:
    """One of the paper's networks, all-ReLU with MaxPool or all-X2act with AvgPool, from the search spaces."""
    from rrnet_nni.evaluators.space_operators import network_operators
    from rrnet_nni.search_spaces import SpaceOptions, fixed_choices

    options, pooling = SpaceOptions(), "maxpool" if activation == "relu" else "avgpool"
    return tuple(network_operators(network, options, fixed_choices(network, options, activation, pooling)))
