"""`masked`: which words are opened where. One word per wire crosses the link; an opened wire serves all its readers.

A value is known to the parties in one or more forms:

- as additive *shares*, narrow (modulo 2^32) or *wide* (modulo 2^64, shares of the signed integer);
- as a *wire*, a public M = x + r with a dealt mask r; linear local operations keep it a wire;
- *lifted*, z = A − ρ_t with A and the bit t public and both ρ_0, ρ_1 dealt: the result of a truncation that opened its
  input, or a wire whose integer a square needs. The relation holds over the integers, so that wide shares follow.

A truncation of a wide share opens nothing: dropping s bits leaves shares modulo 2^(64−s), which cannot fail while 32
bits are left. So X2act (square, affine, truncation on a lifted value) sends nothing, and the convolution behind it
opens the one word of that wire. Which form every value has follows from the program alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..program import RING_BITS, ConvOp, LinearOp, MaxPoolOp, Program, ReluOp, SquareOp, TruncateOp
from .local_operations import LOCAL_OPERATIONS

#: Bits of a wide share.
WIDE_BITS = 64


@dataclass(frozen=True)
class OperationPlan:
    """What one operation does with its input and in which form its output is.

    Attributes:
        opens: it opens its input's words under a fresh mask first; otherwise they are open, or it needs none.
        lifted: its input is read in the lifted form, of which there are two.
        lifts: it brings its input, a wire, into the lifted form itself.
        wire: its output is a wire.
        wide: its output is a wide share; its material is dealt in words of 64 bits.
        reduces: a truncation that drops bits from a wide share, without an opening.
        keeps: an elementwise gate that opens its input, of whose words another operation reads as well.
    """

    opens: bool = False
    lifted: bool = False
    lifts: bool = False
    wire: bool = False
    wide: bool = False
    reduces: bool = False
    keeps: bool = False

    @property
    def forms(self) -> int:
        """How many forms of the input's mask there are; a public bit selects."""
        return 2 if self.lifted or self.lifts else 1


def plan_masked(program: Program) -> tuple[OperationPlan, ...]:
    """The form of every value, in program order."""
    wanted, reducing = _wide_values(program)
    wires: set[str] = set()
    lifted: set[str] = set()
    wide: set[str] = set()  # held as wide shares so far
    plans = []
    for operation in program.operations:
        source, output_wanted = operation.inputs[0], operation.output in wanted
        match operation:
            case ConvOp() | LinearOp() | MaxPoolOp():
                plan = OperationPlan(opens=source not in wires)
            case TruncateOp() if operation.name in reducing and source in wide:
                plan = OperationPlan(reduces=True, wide=output_wanted)
            case TruncateOp():
                plan = OperationPlan(opens=source not in wires, wide=output_wanted)
                lifted.add(operation.output)
            case SquareOp() if output_wanted and source not in lifted:
                plan = OperationPlan(opens=source not in wires, lifts=True, wide=True)
                lifted.add(source)
                wide.add(source)
            case SquareOp() | ReluOp():
                gate_wide = output_wanted and isinstance(operation, SquareOp)
                reads_lifted = source in lifted and (gate_wide or source not in wires)
                plan = OperationPlan(
                    opens=source not in wires and not reads_lifted, lifted=reads_lifted, wide=gate_wide
                )
            case _ if isinstance(operation, LOCAL_OPERATIONS):
                keeps = output_wanted and wide.issuperset(operation.inputs)
                plan = OperationPlan(wire=wires.issuperset(operation.inputs), wide=keeps)
            case _:
                raise ValueError(f"{operation.kind} is not an operation of masked")
        if plan.opens:
            wires.add(source)
        if plan.wire:
            wires.add(operation.output)
        if plan.wide:
            wide.add(operation.output)
        plans.append(plan)
    return _with_kept_words(program, plans)


def _with_kept_words(program: Program, plans: Sequence[OperationPlan]) -> tuple[OperationPlan, ...]:
    """The plans, with the gates marked whose opened words are read again."""
    read: set[str] = set()
    words_of: dict[str, str] = {}  # a lifted value: the tensor whose opened word has its sign
    for operation, plan in zip(program.operations, plans):
        source = operation.inputs[0]
        if plan.lifted:
            read.add(words_of[source])
        elif plan.wire:
            read.update(operation.inputs)
        elif not (plan.opens or plan.reduces or isinstance(operation, LOCAL_OPERATIONS)):
            read.add(source)
        if plan.lifts:
            words_of[source] = source
        elif isinstance(operation, TruncateOp) and not plan.reduces:
            words_of[operation.output] = source
    gates = ReluOp, SquareOp, TruncateOp
    return tuple(
        replace(plan, keeps=plan.opens and isinstance(operation, gates) and operation.inputs[0] in read)
        for operation, plan in zip(program.operations, plans)
    )


def _wide_values(program: Program) -> tuple[set[str], set[str]]:
    """Values that are worth holding as wide shares, and the names of the truncations that these allow to reduce.

    Forward: how many bits of each value a wide share could hold. Squares start it, since they lift what they read;
    local operations keep the fewest bits of their inputs. Backward: from the truncations that leave a whole word.
    """
    squared = {operation.inputs[0] for operation in program.operations if isinstance(operation, SquareOp)}
    bits: dict[str, int] = {}
    reducing, keeping = set(), set()
    for operation in program.operations:
        source = operation.inputs[0]
        match operation:
            case SquareOp():
                bits[source] = bits[operation.output] = WIDE_BITS
                keeping.add(operation.name)
            case TruncateOp() if bits.get(source, 0) - operation.bits >= RING_BITS:
                reducing.add(operation.name)
                bits[operation.output] = bits[source] - operation.bits
            case TruncateOp() if operation.output in squared:
                bits[operation.output] = WIDE_BITS
            case _ if isinstance(operation, LOCAL_OPERATIONS) and bits.keys() >= set(operation.inputs):
                bits[operation.output] = min(bits[name] for name in operation.inputs)
                keeping.add(operation.name)
    wanted: set[str] = set()
    for operation in reversed(program.operations):
        if operation.name in reducing or (operation.name in keeping and operation.output in wanted):
            wanted.update(operation.inputs)
    return wanted, reducing
