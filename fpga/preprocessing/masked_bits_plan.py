"""Which bits of which wire's mask the parties share, and where: follows from the program alone.

A wire whose sign some ReLU compares has its digits shared once, where they are needed first; its truncation takes its
carries from them. Wires that are only lifted have two carries shared, which is cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..program import Program, ReluOp, SquareOp, TruncateOp
from ..protocols.masked_plan import OperationPlan, plan_masked


@dataclass(frozen=True)
class BitsPlan:
    """What one operation needs of the mask of the wire called `wire`.

    Attributes:
        wire: the opened word that the operation lifts or compares.
        digits: its digits are shared, here if `first`; otherwise its carries are, for this operation alone.
        first: nobody shared its digits before.
        last: nobody needs its digits again.
    """

    wire: str
    digits: bool
    first: bool = False
    last: bool = False


def plan_bits(program: Program) -> tuple[BitsPlan | None, ...]:
    """Per operation, in program order; None where no mask's bits are needed."""
    wires = _wires(program)
    compared = {
        wire for operation, wire in zip(program.operations, wires) if wire is not None and isinstance(operation, ReluOp)
    }
    places: dict[str, list[int]] = {wire: [] for wire in compared}
    for index, wire in enumerate(wires):
        if wire in places:
            places[wire].append(index)
    plans = []
    for index, wire in enumerate(wires):
        users = places.get(wire, []) if wire is not None else []
        plans.append(None if wire is None else BitsPlan(wire, bool(users), users[:1] == [index], users[-1:] == [index]))
    return tuple(plans)


def _wires(program: Program) -> list[str | None]:
    """The wire that each operation lifts or compares."""
    lifted: dict[str, str] = {}  # value in the lifted form -> the wire that was opened for it
    wires: list[str | None] = []
    for operation, plan in zip(program.operations, plan_masked(program)):
        source = operation.inputs[0]
        wire = None
        match operation:
            case TruncateOp() if not plan.reduces:
                wire = lifted[operation.output] = source
            case SquareOp() if plan.lifts:
                wire = lifted[source] = source
            case ReluOp():
                wire = lifted[source] if reads_lifted(plan) else source
        wires.append(wire)
    return wires


def reads_lifted(plan: OperationPlan) -> bool:
    """Whether a gate reads its input in the lifted form."""
    return plan.lifted or plan.lifts
