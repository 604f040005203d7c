"""Operations that move nothing: their result is a part of their input, word by word as it lies there."""

from __future__ import annotations

import math

from .operations import AnyOperation, PickOp, ReshapeOp
from .picks import channel_range
from .program import Program


def view_channel(operation: AnyOperation, program: Program) -> int | None:
    """The channel of the input with which the result begins; None where the operation moves words."""
    match operation:
        case ReshapeOp():
            return 0
        case PickOp(offsets=offsets):
            taken = channel_range(offsets, program.tensor(operation.inputs[0]).shape)
            return None if taken is None else taken[0]
    return None


def view_word(operation: AnyOperation, program: Program) -> int | None:
    """The word of the input with which the result begins; None where the operation moves words."""
    channel = view_channel(operation, program)
    return None if channel is None else channel * math.prod(program.tensor(operation.inputs[0]).shape[1:])


def origin(program: Program, tensor: str, end: str | None = None) -> tuple[str, int]:
    """The tensor of which `tensor` is channels, and the first of them; itself where it is `end` or made of its own."""
    makers = {operation.output: operation for operation in program.operations}
    first = 0
    while tensor != end and isinstance(maker := makers.get(tensor), PickOp):
        channel = view_channel(maker, program)
        if channel is None:
            break
        tensor, first = maker.inputs[0], first + channel
    return tensor, first
