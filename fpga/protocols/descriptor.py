"""What a two-party protocol is to the rest of the house: one descriptor, of which most parts are optional."""

from __future__ import annotations

from dataclasses import dataclass

from ..cost.protocol import ProtocolCosts
from .party import Execution
from .shared.preparation import Preparation


@dataclass(frozen=True)
class ProtocolDescriptor:
    """A protocol's parts.

    `costs` prices it; with an `execution` two parties can run it; with a `preparation` they can make its material
    without a dealer.
    """

    costs: ProtocolCosts
    execution: Execution | None = None
    preparation: type[Preparation] | None = None

    @property
    def name(self) -> str:
        """By which the protocol is chosen."""
        return self.costs.name
