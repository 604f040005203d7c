"""Tables of the documentation that follow from the code alone."""

from __future__ import annotations

from functools import cache

from rrnet_nni.base.tables import markdown_table
from rrnet_nni.cli.paper_table import paper_operators, paper_rows
from rrnet_nni.fpga.cost.latency import operator_cost
from rrnet_nni.fpga.cost.network import network_cost
from rrnet_nni.fpga.devices import load_device
from rrnet_nni.fpga.program import operators
from rrnet_nni.fpga.protocols import executions, get_costs, protocol_names

#: So many that the octets which bit planes round up do not show.
ELEMENTS = 1 << 16
SHOWN = {
    "ReLU": operators.Relu(ELEMENTS),
    "X2act": operators.X2act(ELEMENTS),
    "truncation": operators.Truncate(ELEMENTS),
    "square": operators.Square(ELEMENTS),
    "sum": operators.Add(ELEMENTS),
    "product of two secrets": operators.Mul(ELEMENTS, ELEMENTS),
}


@cache
def protocol_costs() -> str:
    """Bytes for each element of every elementwise operator, and rounds, under every executed protocol."""
    device = load_device("zcu104")
    rows = []
    for name, shape in SHOWN.items():
        for protocol in sorted(executions()):
            cost = operator_cost(shape, device, get_costs(protocol))
            sent, before = (
                " / ".join(f"{octets / ELEMENTS:.4g}" for octets in pair)
                for pair in (cost.bytes_sent, cost.offline_bytes)
            )
            rows.append([name, f"`{protocol}`", sent, str(cost.rounds), before, f"{cost.latency_ms:.2f}"])
    return markdown_table(
        (
            "operator",
            "protocol",
            "bytes an element, sent by 0 / 1",
            "rounds",
            "bytes an element beforehand, to 0 / 1",
            f"ms for {ELEMENTS:,} elements",
        ),
        rows,
    )


@cache
def paper_latencies() -> str:
    """The paper's ten latencies beside the model's, with the constants that were fitted to them."""
    rows = paper_rows(load_device("zcu104"), get_costs("paper"))
    return markdown_table(
        ("network", "activation", "published ms", "modelled ms", "error"),
        (
            (row["network"], row["choice"], f"{row['paper_ms']:.1f}", f"{row['model_ms']:.1f}", f"{row['error']:+.1%}")
            for row in rows
        ),
    )


@cache
def shared_signs() -> str:
    """A ReLU, one whose signs neighbours share, and X2act on 16 x 32 x 32: bytes of an element, rounds, latency."""
    device, elements = load_device("zcu104"), 16 * 32 * 32
    shapes = (operators.Relu(elements), operators.PatchRelu(16, 32, 32), operators.X2act(elements))

    def cell(shape: operators.OperatorShape, protocol: str) -> str:
        cost = operator_cost(shape, device, get_costs(protocol))
        rounds = f"{cost.rounds} round{'' if cost.rounds == 1 else 's'}"
        return f"{sum(cost.bytes_sent) / elements:.2f} B, {rounds}, {cost.latency_ms:.2f} ms"

    rows = [[f"`{protocol}`", *(cell(shape, protocol) for shape in shapes)] for protocol in sorted(executions())]
    return markdown_table(("protocol", "ReLU", "`relu2x2`", "X2act"), rows)


@cache
def replacing() -> str:
    """The start page's table: the paper's protocol and the executed ones."""
    header, _, *rows = protocol_latencies().splitlines()
    shown = [row for row in rows if row.split("`")[1] in ("paper", *executions())]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, *shown)]
    names, *values = [[*row[:4], row[5]] for row in cells]
    return markdown_table(names, values)


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
    return markdown_table(
        ("protocol", "all-ReLU ms", "all-X2act ms", "speed-up", "rounds", "MB sent, both", "MB beforehand, both"), rows
    )
