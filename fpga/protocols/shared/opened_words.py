"""What a protocol whose opened words serve several readers does with each operation's words."""

from __future__ import annotations

from dataclasses import dataclass

from ...program import RING_BITS, AnyOperation


@dataclass(frozen=True)
class OperationPlan:
    """What one operation does with its input and in which form its output is.

    Attributes:
        opens: it opens its input's words under a fresh mask first; otherwise they are open, or it needs none. A
            truncation that also reduces opens its result instead.
        opens_second: a product of two tensors opens its second factor's words too, in the same round.
        lifted: its input is read in the lifted form, of which there are two.
        lifts: it brings a wire into the lifted form itself: its input, or a truncation that reduces its result.
        wire: its output is a wire.
        wide: its output is a wide share; its material is dealt in words of 64 bits.
        reduces: a truncation that drops bits of its shares, without opening them.
        keeps: an elementwise gate that opens its input, of whose words another operation reads as well.
        lifts_wide: what it lifts is squared elsewhere, so that its forms are dealt in words of 64 bits.
        width: bits of the word that it opens or reads.
    """

    opens: bool = False
    opens_second: bool = False
    lifted: bool = False
    lifts: bool = False
    wire: bool = False
    wide: bool = False
    reduces: bool = False
    keeps: bool = False
    lifts_wide: bool = False
    width: int = RING_BITS

    @property
    def forms(self) -> int:
        """How many forms of the input's mask there are; a public bit selects."""
        return 2 if self.lifted or self.lifts else 1

    @property
    def wide_forms(self) -> bool:
        """Whether the forms that it deals are words of 64 bits."""
        return self.wide or self.lifts_wide


def opened_by(operation: AnyOperation, plan: OperationPlan) -> str:
    """The tensor whose words an operation opens."""
    return operation.output if plan.reduces else operation.inputs[0]
