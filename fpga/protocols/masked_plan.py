"""`masked`: which words are opened where. One word per wire crosses the link; an opened wire serves all its readers.

A value is known to the parties as additive shares; as a *wire*, a public M = x + r with a dealt mask r (linear local
operations keep it a wire); or as a *lifted* value, the result of a truncation: z = A − ρ_t with A and the bit t public
and both ρ_0, ρ_1 dealt. Which form every value has follows from the program alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..program import ConvOp, LinearOp, MaxPoolOp, Program, ReluOp, SquareOp, TruncateOp
from .local_operations import LOCAL_OPERATIONS


@dataclass(frozen=True)
class OperationPlan:
    """What one operation does first: `opens` its input's words (a fresh mask), or finds them open already.

    `lifted` says that its input is the result of a truncation and is read in that form; `wire` that its output is a
    wire.
    """

    opens: bool
    lifted: bool
    wire: bool


def plan_masked(program: Program) -> tuple[OperationPlan, ...]:
    """The form of every value, in program order; an operation's plan depends on earlier operations only."""
    wires: set[str] = set()
    lifted: set[str] = set()
    plans = []
    for operation in program.operations:
        source = operation.inputs[0]
        match operation:
            case ConvOp() | LinearOp() | TruncateOp() | MaxPoolOp():
                plan = OperationPlan(source not in wires, False, False)
            case SquareOp() | ReluOp():
                reads_lifted = source in lifted and source not in wires
                plan = OperationPlan(source not in wires and not reads_lifted, reads_lifted, False)
            case _ if isinstance(operation, LOCAL_OPERATIONS):
                plan = OperationPlan(False, False, all(name in wires for name in operation.inputs))
            case _:
                raise ValueError(f"{operation.kind} is not an operation of masked")
        if plan.opens:
            wires.add(source)
        if plan.wire:
            wires.add(operation.output)
        if isinstance(operation, TruncateOp):
            lifted.add(operation.output)
        plans.append(plan)
    return tuple(plans)
