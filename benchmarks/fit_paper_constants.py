"""Fit the device constants that the paper does not print to its published latencies.

    python benchmarks/fit_paper_constants.py

With protocol `paper` a latency is linear in the inverse of three rates and in the message latency; what the paper gives
(clock, bandwidth, word size) stays fixed. Least squares on the relative errors. All ten latencies give the constants of
zcu104.yaml; those of VGG-16, MobileNetV2 and ResNet-18 alone (six latencies, four constants) predict ResNet-34 and
ResNet-50, which shows how much of it is a model and how much an interpolation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rrnet_nni.base.tables import text_table
from rrnet_nni.fpga.cost import operator_cost
from rrnet_nni.fpga.cost.published import FITTED_NETWORKS, PUBLISHED_LATENCIES
from rrnet_nni.fpga.devices import Device, load_device
from rrnet_nni.fpga.program.operators import NamedOperator
from rrnet_nni.fpga.protocols import get_costs

RATES = (
    "array_multiplications_per_cycle",
    "depthwise_multiplications_per_cycle",
    "comparator_operations_per_cycle",
)
LATENCY = "message_latency_s"
#: (name of the network, "relu" or "x2act") -> its operators.
Networks = Callable[[str, str], Sequence[NamedOperator]]


@dataclass(frozen=True)
class Fit:
    """Fitted constants by name, and the relative error of every published latency under them."""

    constants: dict[str, float]
    errors: dict[tuple[str, str], float]


def fit(networks: Networks, fitted: Sequence[str]) -> Fit:
    """Least squares on the relative errors of the networks named in `fitted`."""
    device = load_device("zcu104")
    points = [(published, activation) for published in PUBLISHED_LATENCIES for activation in ("relu", "x2act")]
    rows = np.array([_features(networks(published.network, activation), device) for published, activation in points])
    wanted = np.array([published.latency_ms(activation) for published, activation in points])
    chosen = [published.network in fitted for published, _ in points]
    scale = 1 / wanted[chosen]
    solution, *_ = np.linalg.lstsq(
        rows[chosen, 1:] * scale[:, None], (wanted[chosen] - rows[chosen, 0]) * scale, rcond=None
    )
    errors = (rows[:, 0] + rows[:, 1:] @ solution) / wanted - 1
    constants = {name: float(1 / value) for name, value in zip(RATES, solution, strict=False)}
    return Fit(
        constants | {LATENCY: float(solution[-1])},
        {(published.network, activation): float(error) for (published, activation), error in zip(points, errors)},
    )


def _features(operators: Sequence[NamedOperator], device: Device) -> list[float]:
    """Latency in ms without the unknowns, then ms per unit of each unknown: 1 / rate, and seconds of latency."""
    nothing = replace(device, **dict.fromkeys(RATES, float("inf")), message_latency_s=0.0)
    base = _latency_ms(operators, nothing)
    unit = [replace(nothing, **{name: 1.0}) for name in (*RATES, LATENCY)]
    return [base, *(_latency_ms(operators, one) - base for one in unit)]


def _latency_ms(operators: Sequence[NamedOperator], device: Device) -> float:
    protocol = get_costs("paper")
    return sum(operator_cost(operator.shape, device, protocol).latency_ms for operator in operators)


def report(everything: Fit, held_out: Fit) -> str:
    """Constants and errors of both fits for people."""
    constants = text_table(
        ("constant", "all ten latencies", "three networks"),
        [(name, f"{value:.4g}", f"{held_out.constants[name]:.4g}") for name, value in everything.constants.items()],
    )
    rows = []
    for (network, activation), error in everything.errors.items():
        role = "fitted" if network in FITTED_NETWORKS else "predicted"
        rows.append((network, activation, f"{error:+.2%}", f"{held_out.errors[network, activation]:+.2%}", role))
    errors = text_table(("network", "activation", "all ten latencies", "three networks", ""), rows, left=2)
    return f"{constants}\n{errors}"


def main() -> int:
    from rrnet_nni.cli.paper_table import paper_operators

    every = tuple(published.network for published in PUBLISHED_LATENCIES)
    sys.stdout.write(report(fit(paper_operators, every), fit(paper_operators, FITTED_NETWORKS)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
