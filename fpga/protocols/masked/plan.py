"""`masked`: which words are opened where, on how many bits. An opened wire serves all its readers.

A value is known to the parties in one or more forms:

- as additive *shares*, narrow (modulo 2^32, or the fewer bits that its readers need) or *wide* (modulo 2^64, shares of
  the signed integer);
- as a *wire*, a public M = x + r with a dealt mask r; linear local operations keep it a wire;
- *lifted*, z = A − ρ_t with A and the bit t public and both ρ_0, ρ_1 dealt: the result of a truncation that opened its
  input, or a wire whose integer a gate needs. The relation holds over the integers, so that shares modulo 2^32 or 2^64
  follow from a word that was opened on fewer bits.

A truncation of a wide share opens nothing: dropping s bits leaves shares modulo 2^(64−s), which cannot fail while as
many bits are left as are needed. So X2act (square, affine, truncation on a lifted value) sends nothing, and the
convolution behind it opens the one word of that wire.

Where tensors have a narrow ring (`Tensor.ring_bits`), truncations of narrow shares do the same: s bits are dropped
locally, and a gate opens z itself, on the bits of its ring. Backwards through linear operations follows how many bits
of every value matter (`_needed_bits`): a product whose result loses s bits and is then opened on w bits needs w + s
bits of its input, however large that is. Which form every value has follows from the program alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...program import (
    RING_BITS,
    AffineOp,
    AnyOperation,
    ConvOp,
    LinearOp,
    MaxPoolOp,
    MulOp,
    Program,
    ReluOp,
    SelectOp,
    SquareOp,
    TruncateOp,
    is_narrow,
)
from ..shared.local_operations import LOCAL_OPERATIONS
from ..shared.opened_words import OperationPlan, opened_by

#: Bits of a wide share.
WIDE_BITS = 64
#: Comparisons take a digit of 3 bits and further ones of 4 beside the sign.
LEAST_GATE_BITS, GATE_STEP = 8, 4


def gate_bits(ring_bits: int) -> int:
    """The width on which a gate opens a tensor of this ring: whole digits of a comparison."""
    return max(LEAST_GATE_BITS, -(-ring_bits // GATE_STEP) * GATE_STEP)


def plan_masked(program: Program) -> tuple[OperationPlan, ...]:
    """The form of every value, in program order."""
    planner = _Planner(program)
    return _with_kept_words(program, [planner.plan(operation) for operation in program.operations])


class _Planner:
    """A walk over the program that knows which words are open on how many bits, which values are lifted or wide."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.wanted, self.reducing = _wide_values(program)
        self.needed, self.local = _needed_bits(program, self.wanted, self.reducing)
        self.wires: dict[str, int] = {}
        self.lifted: dict[str, int] = {}
        self.wide: set[str] = set()

    def plan(self, operation: AnyOperation) -> OperationPlan:
        source = operation.inputs[0]
        match operation:
            case ConvOp() | LinearOp():
                plan = self._opened(source, self.needed[operation.output])
            case MaxPoolOp():
                ring = max(self.program.tensor(source).ring_bits, self.needed[operation.output])
                plan = self._opened(source, gate_bits(ring))
            case MulOp():
                plan = self._product(operation)
            case TruncateOp():
                plan = self._truncation(operation)
            case SquareOp() | ReluOp():
                plan = self._gate(operation)
            case SelectOp():
                plan = self._selection(operation)
            case _ if isinstance(operation, LOCAL_OPERATIONS):
                plan = self._local(operation)
            case _:
                raise ValueError(f"{operation.kind} is not an operation of masked")
        if plan.wide:
            self.wide.add(operation.output)
        return plan

    def _opened(self, name: str, width: int) -> OperationPlan:
        opens = self.wires.get(name, 0) < width
        if opens:
            self.wires[name] = width
        return OperationPlan(opens=opens, width=width)

    def _product(self, operation: MulOp) -> OperationPlan:
        """Of two wires, modulo as many bits as its readers need, however large the factors are."""
        width = self.needed[operation.output]
        first, second = (self._opened(name, width) for name in operation.inputs)
        return replace(first, opens_second=second.opens)

    def _truncation(self, operation: TruncateOp) -> OperationPlan:
        source, output = operation.inputs[0], operation.output
        wide = output in self.wanted
        if operation.name in self.reducing:
            if source not in self.wide:
                raise ValueError(f"{source} is not shared on {WIDE_BITS} bits")
            return OperationPlan(reduces=True, wide=wide)
        if operation.name in self.local:
            return OperationPlan(reduces=True)
        width = _lifted_bits(self.program, operation)
        if width < RING_BITS:
            self.wires[output] = self.lifted[output] = width
            return OperationPlan(opens=True, lifts=True, reduces=True, wide=wide, width=width)
        self.lifted[output] = RING_BITS
        return replace(self._opened(source, RING_BITS), wide=wide)

    def _gate(self, operation: SquareOp | ReluOp) -> OperationPlan:
        """A square or a ReLU: on the lifted form, on a wire, or on a wire that it lifts."""
        source, needed = operation.inputs[0], self.needed[operation.output]
        squares = isinstance(operation, SquareOp)
        wide = squares and operation.output in self.wanted
        ring = gate_bits(self.program.tensor(source).ring_bits)
        width = needed if squares and not wide else ring
        if source in self.lifted and (wide or self.wires.get(source, 0) < max(needed, width)):
            return OperationPlan(lifted=True, wide=wide, width=self.lifted[source])
        if not wide and (squares or needed <= ring):
            return self._opened(source, width)
        self.lifted[source] = ring
        lifts_wide = source in self.wanted
        if wide or lifts_wide:
            self.wide.add(source)
        return replace(self._opened(source, ring), lifts=True, wide=wide, lifts_wide=lifts_wide)

    def _selection(self, operation: SelectOp) -> OperationPlan:
        """The signs' words are opened, and those of what they choose where it is not lifted."""
        source, signs = operation.inputs
        width = gate_bits(max(self.program.tensor(signs).ring_bits, self.needed[operation.output]))
        first = OperationPlan(lifted=True, width=width) if source in self.lifted else self._opened(source, width)
        return replace(first, opens_second=self._opened(signs, width).opens)

    def _local(self, operation: AnyOperation) -> OperationPlan:
        wire = self.wires.keys() >= set(operation.inputs)
        if wire:
            self.wires[operation.output] = min(self.wires[name] for name in operation.inputs)
        keeps_wide = operation.output in self.wanted and self.wide.issuperset(operation.inputs)
        return OperationPlan(wire=wire, wide=keeps_wide)


def _lifted_bits(program: Program, operation: TruncateOp) -> int:
    """On how many bits a truncation's result is opened; 32 where its untruncated input is opened instead."""
    width = gate_bits(program.tensor(operation.output).ring_bits)
    return width if width + operation.bits <= RING_BITS else RING_BITS


def _needed_bits(program: Program, wanted: set[str], reducing: set[str]) -> tuple[dict[str, int], set[str]]:
    """How many low bits of every value its readers need, and the truncations of narrow shares that open nothing."""
    if not is_narrow(program):
        return dict.fromkeys(program.tensors, RING_BITS), set()
    needed, local = dict.fromkeys(program.tensors, LEAST_GATE_BITS), set()
    needed[program.output] = RING_BITS
    for operation in reversed(program.operations):
        after = needed[operation.output]
        ring = gate_bits(program.tensor(operation.inputs[0]).ring_bits)
        wants = [after] * len(operation.inputs)
        match operation:
            case AffineOp():
                wants = [max(0, after - _trailing_zeros(row)) for row in operation.multipliers]
            case ReluOp():
                wants = [ring]
            case SelectOp():
                wants = [gate_bits(max(after, program.tensor(operation.inputs[1]).ring_bits))] * 2
            case MaxPoolOp():
                wants = [max(after, ring)]
            case SquareOp() if operation.output in wanted:
                wants = [ring]
            case TruncateOp(bits=bits) if operation.name in reducing:
                wants = [0]
            case TruncateOp(bits=bits) if after + bits <= RING_BITS and operation.output not in wanted:
                local.add(operation.name)
                wants = [after + bits]
            case TruncateOp(bits=bits):
                wants = [min(RING_BITS, _lifted_bits(program, operation) + bits)]
        for name, bits in zip(operation.inputs, wants, strict=True):
            needed[name] = max(needed[name], bits)
    return needed, local


def _trailing_zeros(multipliers: tuple[int, ...]) -> int:
    """Bits by which all of these multipliers shift a value to the left."""
    return min((word & -word).bit_length() - 1 if word else RING_BITS for word in multipliers)


def _wide_values(program: Program) -> tuple[set[str], set[str]]:
    """Values that are worth holding as wide shares, and the names of the truncations that these allow to reduce.

    Forward: how many bits of each value a wide share could hold. Squares start it, since they lift what they read;
    local operations keep the fewest bits of their inputs. Backward: from the truncations that leave a whole word. A
    square that no such truncation needs lifts nothing, and truncations that counted on it do not reduce.
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
    while True:
        wanted: set[str] = set()
        for operation in reversed(program.operations):
            if operation.name in reducing or (operation.name in keeping and operation.output in wanted):
                wanted.update(operation.inputs)
        held = _held_wide(program, wanted, reducing)
        if not (lost := {op.name for op in program.operations if op.name in reducing and op.inputs[0] not in held}):
            return wanted, reducing
        reducing -= lost


def _held_wide(program: Program, wanted: set[str], reducing: set[str]) -> set[str]:
    """Which of the wanted values are held as wide shares, each by the time that it is made or squared."""
    held: set[str] = set()
    for operation in program.operations:
        output = operation.output
        match operation:
            case SquareOp() if output in wanted:
                held |= {operation.inputs[0], output}
            case TruncateOp() if output in wanted and (operation.name not in reducing or operation.inputs[0] in held):
                held.add(output)
            case _ if (
                isinstance(operation, LOCAL_OPERATIONS) and output in wanted and held.issuperset(operation.inputs)
            ):
                held.add(output)
    return held


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
        if isinstance(operation, MulOp | SelectOp) and not plan.opens_second:
            read.add(operation.inputs[1])
        if isinstance(operation, TruncateOp):
            words_of[operation.output] = operation.output if plan.reduces else source
        elif plan.lifts:
            words_of[source] = source
    gates = ReluOp, SquareOp, TruncateOp
    return tuple(
        replace(plan, keeps=plan.opens and isinstance(operation, gates) and opened_by(operation, plan) in read)
        for operation, plan in zip(program.operations, plans)
    )
