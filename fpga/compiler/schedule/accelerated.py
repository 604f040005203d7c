"""Whether the accelerator can execute a program, and if not, why."""

from __future__ import annotations

from ...cost.protocol import ProtocolCosts
from ...program import WORD_BYTES, AffineOp, PickOp, Program, is_narrow
from ...program.operands import BUS_BYTES, Kind
from ...program.views import view_word
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
    wide = _wide_results(program, protocol)
    for operation in program.operations:
        word = view_word(operation, program)
        if isinstance(operation, PickOp) and word is not None:
            if WORD_BYTES * word % BUS_BYTES or operation.output in wide:
                return f"operation {operation.name!r}: the accelerator takes slices of channels that begin a bus word"
            continue
        if operation.kind.upper() not in Kind.__members__:
            return f"operation {operation.name!r}: the accelerator has no operation {operation.kind!r}"
        if isinstance(operation, AffineOp):
            channels = program.tensor(operation.output).shape[0]
            if any(len(row) not in (1, channels) for row in (*operation.multipliers, operation.addend)):
                return f"operation {operation.name!r}: the accelerator has one coefficient per channel, not per pixel"
    return None


def _wide_results(program: Program, protocol: ProtocolCosts) -> set[str]:
    """Tensors whose shares are two words an element, the high ones behind all low ones."""
    plan_words = get_protocol(protocol.name).plan
    plans = () if plan_words is None else zip(program.operations, plan_words(program), strict=True)
    return {operation.output for operation, plan in plans if plan.wide}
