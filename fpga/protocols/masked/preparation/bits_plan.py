"""Which bits of which wire's mask the parties share, and where: follows from the program alone.

A wire whose sign some ReLU compares has its digits shared once, where they are needed first; its lifting takes its
carries from them. Wires that are only lifted have a few carries shared, which is cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass

from ....program import AnyOperation, Program, ReluOp, SelectOp, SquareOp, TruncateOp
from ...shared.opened_words import OperationPlan, opened_by
from ..plan import plan_masked

#: A wire's name, the place of the operation that opened it or made it, and how many of its bits are read.
Word = tuple[str, int, int]


@dataclass(frozen=True)
class BitsPlan:
    """What one operation needs of the mask of an opened word.

    Attributes:
        word: what it lifts or compares.
        dropped: bits that lifting drops.
        lifts: it lifts the word.
        digits: the word's digits are shared, here if `first`; otherwise its carries are, for this operation alone.
        first: nobody shared its digits before.
        last: nobody needs its digits again.
    """

    word: Word
    dropped: int = 0
    lifts: bool = False
    digits: bool = False
    first: bool = False
    last: bool = False

    @property
    def width(self) -> int:
        """Bits of the word."""
        return self.word[2]


def plan_bits(program: Program) -> tuple[BitsPlan | None, ...]:
    """Per operation, in program order; None where no mask's bits are needed."""
    words = _words(program)
    compared = {word for operation, word in zip(program.operations, words) if isinstance(operation, ReluOp | SelectOp)}
    users: dict[Word, list[int]] = {}
    for index, word in enumerate(words):
        if word in compared and word is not None:
            users.setdefault(word, []).append(index)
    result: list[BitsPlan | None] = []
    for index, (operation, plan, word) in enumerate(zip(program.operations, plan_masked(program), words)):
        if word is None:
            result.append(None)
            continue
        places = users.get(word, [])
        dropped = operation.bits if isinstance(operation, TruncateOp) and not plan.reduces else 0
        lifts = plan.lifts or isinstance(operation, TruncateOp)
        result.append(BitsPlan(word, dropped, lifts, bool(places), places[:1] == [index], places[-1:] == [index]))
    return tuple(result)


def _words(program: Program) -> list[Word | None]:
    """The opened word that each operation lifts or compares."""
    made: dict[str, int] = {}
    lifted: dict[str, Word] = {}
    words: list[Word | None] = []
    for index, (operation, plan) in enumerate(zip(program.operations, plan_masked(program))):
        if plan.opens:
            made[opened_by(operation, plan)] = index
        elif plan.wire:
            made[operation.output] = index
        if plan.opens_second:
            made[operation.inputs[1]] = index
        words.append(_word(operation, plan, made, lifted))
    return words


def _word(operation: AnyOperation, plan: OperationPlan, made: dict[str, int], lifted: dict[str, Word]) -> Word | None:
    source = operation.inputs[0]
    match operation:
        case TruncateOp() if plan.opens or not plan.reduces:
            name = opened_by(operation, plan)
            lifted[operation.output] = name, made[name], plan.width
            return lifted[operation.output]
        case SquareOp() | ReluOp() if plan.lifts:
            lifted[source] = source, made[source], plan.width
            return lifted[source]
        case SelectOp():
            signs = operation.inputs[1]
            return signs, made[signs], plan.width
        case ReluOp():
            return lifted[source] if plan.lifted else (source, made[source], plan.width)
    return None
