"""What a program reveals: its logits, or the class of the largest one and nothing else, computed under the protocol.

The classes' order among equals is that of `argmax`, the first; no tie shows. With e = [l >= M] for the maximum M of
the logits l, and P the sums of e up to each class, the one-hot word is relu(2 e − P): 1 at the first maximum, 0 after
it because P has counted that one, and 0 elsewhere. Integers make e a ReLU too: relu(l − M + 1). All of it is exact.
"""

from __future__ import annotations

from dataclasses import replace

from rrnet_nni.base.errors import Refusal

from .operations import RING_BITS, AffineOp, AnyOperation, MaxPoolOp, PickOp, ReluOp, ReshapeOp, SumPoolOp, Tensor
from .program import ARGMAX, Program

#: More bits than those of the logits for their differences, in steps of a comparison's digit; and for a count.
DIFFERENCE_BITS, LEAST_COUNT_BITS, STEP = 4, 8, 4
#: What the output is called behind the logits' name.
_ENDING = ".argmax"


def with_argmax(program: Program) -> Program:
    """The program whose output is one word per class: 1 for the class of the largest logit, 0 for the others.

    The logits' words must stay inside ±2^29, so that their differences are inside of ±2^30.

    Raises:
        Refusal: the logits are no vector of two classes or more.
    """
    logits = program.tensor(program.output)
    if len(logits.shape) != 1 or logits.elements < 2:
        raise Refusal(
            f"{program.name!r} gives {list(logits.shape)} logits: an argmax is computed of one vector of two or more"
        )
    tensors, operations = _tail(logits)
    return replace(
        program,
        output=operations[-1].output,
        tensors={**program.tensors, **{tensor.name: tensor for tensor in tensors}},
        operations=(*program.operations, *operations),
        head=(ARGMAX,),
        reveals=ARGMAX,
    )


def check_revealed(program: Program) -> None:
    """Refuse a program that says it reveals the argmax alone and does not end in it."""
    if program.reveals != ARGMAX:
        return
    made = {operation.output: place for place, operation in enumerate(program.operations)}
    name = program.output.removesuffix(_ENDING)
    if name in program.tensors and name != program.output:
        tensors, operations = _tail(program.tensor(name))
        ends = program.operations[made.get(name, len(made)) + 1 :] == operations
        if ends and all(program.tensors.get(tensor.name) == tensor for tensor in tensors):
            return
    raise Refusal(f"{program.name!r} says that it reveals the argmax alone, but does not end in computing it")


def _tail(logits: Tensor) -> tuple[list[Tensor], tuple[AnyOperation, ...]]:
    """Tensors and operations behind the logits."""
    classes, bits, name = logits.elements, logits.fraction_bits, logits.name
    narrow = logits.ring_bits < RING_BITS
    apart = min(RING_BITS, logits.ring_bits + DIFFERENCE_BITS)
    counted = max(LEAST_COUNT_BITS, -(-(classes.bit_length() + 3) // STEP) * STEP) if narrow else RING_BITS
    one = LEAST_COUNT_BITS if narrow else RING_BITS
    row = (1, 1, classes)
    tensors: list[Tensor] = []

    def label(what: str) -> str:
        return f"{name}{_ENDING}{what}"

    def made(what: str, shape: tuple[int, ...], fraction_bits: int, ring_bits: int) -> str:
        tensors.append(Tensor(label(what), shape, fraction_bits, ring_bits=ring_bits))
        return label(what)

    everywhere, here = tuple(range(classes)), (0,)
    lined = made(".row", row, bits, logits.ring_bits)
    largest = made(".largest", (1, 1, 1), bits, logits.ring_bits)
    spread = made(".spread", row, bits, logits.ring_bits)
    below = made(".below", row, 0, apart)
    reached = made(".reached", row, 0, one)
    counts = made(".counts", row, 0, counted)
    left = made(".left", row, 0, counted)
    first = made(".first", row, 0, one)
    hot = made("", (classes,), 0, one)
    operations: list[AnyOperation] = [
        PickOp(lined, (name,), lined, (here, here, everywhere)),
        MaxPoolOp(largest, (lined,), largest, kernel=(1, classes), stride=(1, classes)),
        PickOp(spread, (largest,), spread, (here, here, here * classes)),
        AffineOp(below, (lined, spread), below, multipliers=((1,), (-1,)), addend=(1,)),
        ReluOp(reached, (below,), reached),
        SumPoolOp(counts, (reached,), counts, kernel=(1, classes), stride=(1, 1), padding=(0, classes - 1, 0, 0)),
        AffineOp(left, (reached, counts), left, multipliers=((2,), (-1,))),
        ReluOp(first, (left,), first),
        ReshapeOp(hot, (first,), hot),
    ]
    return tensors, tuple(operations)
