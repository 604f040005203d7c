"""The cost of a whole network: one row per operator, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..devices import Device
from ..program.operators import NamedOperator, OperatorShape, relu_count
from .energy import Energy, inference_energy
from .latency import OperatorCost, operator_cost, together, total_cost
from .pipeline import pipelined_ms
from .protocol import ProtocolCosts


@dataclass(frozen=True)
class OperatorRow:
    """One operator of the network with its cost; `pipelined_ms` overlaps the tiles of this operator."""

    name: str
    shape: OperatorShape
    cost: OperatorCost
    pipelined_ms: float

    @property
    def kind(self) -> str:
        return type(self.shape).__name__.lower()


@dataclass(frozen=True)
class NetworkCost:
    """Costs of all operators for `batch` images, one after the other."""

    rows: tuple[OperatorRow, ...]
    total: OperatorCost
    batch: int
    relus: int
    energy: Energy

    @property
    def pipelined_ms(self) -> float:
        """Operators one after the other, each with its own tiles overlapping."""
        return sum(row.pipelined_ms for row in self.rows)


def network_cost(
    operators: Sequence[NamedOperator], device: Device, protocol: ProtocolCosts, batch: int = 1
) -> NetworkCost:
    """Price every operator of a network."""
    rows = tuple(
        OperatorRow(
            operator.name,
            operator.shape,
            operator_cost(operator.shape, device, protocol, batch),
            pipelined_ms(operator.shape, device, protocol, batch),
        )
        for operator in operators
    )
    apart: dict[str, list[OperatorCost]] = {}
    for operator, row in zip(operators, rows, strict=True):
        apart.setdefault(operator.activation or operator.name, []).append(row.cost)
    total = total_cost(costs[0] if len(costs) == 1 else together(costs) for costs in apart.values())
    relus = batch * sum(relu_count(operator.shape) for operator in operators)
    return NetworkCost(rows, total, batch, relus, inference_energy(total, device))
