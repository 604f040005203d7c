"""What a two-party protocol is to the rest of the house: one descriptor, of which most parts are optional."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..cost.protocol import ProtocolCosts
from ..program import Program
from .accelerator import AcceleratorLayout
from .party import Execution
from .shared.opened_words import OperationPlan
from .shared.preparation import Preparation


@dataclass(frozen=True)
class ProtocolDescriptor:
    """A protocol's parts.

    `costs` prices it; with an `execution` two parties can run it; with a `preparation` they can make its material
    without a dealer; with an `accelerator` layout boards can run it. Where opened words serve several readers, `plan`
    says per operation of a program which words those are.
    """

    costs: ProtocolCosts
    execution: Execution | None = None
    preparation: type[Preparation] | None = None
    accelerator: AcceleratorLayout | None = None
    plan: Callable[[Program], Sequence[OperationPlan]] | None = None

    @property
    def name(self) -> str:
        """By which the protocol is chosen."""
        return self.costs.name
