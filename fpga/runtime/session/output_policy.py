"""How much of the logits leaves the party that does not learn them: all, so many fraction bits, or the argmax alone.

The low bits of a share are dropped before it is sent, so that the other party cannot undo it: floor or one more of the
logits on the bits that are kept, as in every truncation that needs no message. An argmax is what the program computes,
or it is not revealed: a party whose policy it is takes part in no other program.
"""

from __future__ import annotations

import numpy as np

from rrnet_nni.base.errors import Refusal

from ...program import ARGMAX, LOGITS, RING_BITS, Program
from ...program.revealed import check_revealed

ROUNDED = "rounded"
#: Bits of the ring that must be left, the sign among them.
LEAST_BITS = 2


def check_policy(text: str) -> str:
    """`logits`, `rounded:BITS` or `argmax`; raises ValueError for anything else."""
    kind, _, bits = text.partition(":")
    if text in (LOGITS, ARGMAX) or (kind == ROUNDED and bits.isdecimal() and int(bits) < RING_BITS):
        return text
    raise ValueError(
        f"{text!r} is neither {LOGITS} nor {ARGMAX} nor {ROUNDED}:BITS with 0 to {RING_BITS - 1} fraction bits"
    )


def dropped_bits(policy: str, program: Program) -> int:
    """How many low bits of the output's words are not revealed.

    Raises:
        Refusal: nothing would be left, or the program does not compute what the policy reveals.
    """
    if (policy == ARGMAX) != (program.reveals == ARGMAX):
        raise Refusal(
            f"--reveal {policy}: this build computes the {program.reveals}; rrnet-2pc-compile --reveal says what a "
            "build computes"
        )
    check_revealed(program)
    if policy in (LOGITS, ARGMAX):
        return 0
    dropped = max(0, program.tensor(program.output).fraction_bits - int(policy.partition(":")[2]))
    if dropped > RING_BITS - LEAST_BITS:
        raise Refusal(f"--reveal {policy} leaves no bit of logits with {dropped} fraction bits more")
    return dropped


def drop(number: int, share: np.ndarray, bits: int) -> np.ndarray:
    """A party's share, uint32, without its low bits: a share modulo 2^(32 − bits) of the floor or one more."""
    if bits == 0:
        return share
    zero, shift = np.uint32(0), np.uint32(bits)
    reduced = share >> shift if number == 0 else zero - ((zero - share) >> shift)
    return np.asarray(reduced & np.uint32(2 ** (RING_BITS - bits) - 1))


def restore(total: np.ndarray, bits: int) -> np.ndarray:
    """Words in the output's format, uint32, from the sum of two shares that were dropped to."""
    return total << np.uint32(bits)
