"""Whether the accelerator can execute a program, and if not, why."""

from __future__ import annotations

from ...cost.protocol import ProtocolCosts
from ...program import AffineOp, Program, is_narrow
from ...program.operands import Kind
from ...protocols import get_protocol


def has_operand_table(program: Program, protocol: ProtocolCosts) -> bool:
    """Whether the accelerator can execute a program."""
    return why_not_accelerated(program, protocol) is None


def why_not_accelerated(program: Program, protocol: ProtocolCosts) -> str | None:
    """Why the accelerator cannot execute a program: the protocol, narrow rings, or an operation that it lacks."""
    if get_protocol(protocol.name).accelerator is None:
        return f"the accelerator has no protocol {protocol.name!r}"
    if protocol.words_stay_open and is_narrow(program):
        return "the accelerator opens words of 32 bits: compile with --ring 32"
    for operation in program.operations:
        if operation.kind.upper() not in Kind.__members__:
            return f"operation {operation.name!r}: the accelerator has no operation {operation.kind!r}"
        if isinstance(operation, AffineOp):
            channels = program.tensor(operation.output).shape[0]
            if any(len(row) not in (1, channels) for row in (*operation.multipliers, operation.addend)):
                return f"operation {operation.name!r}: the accelerator has one coefficient per channel, not per pixel"
    return None
