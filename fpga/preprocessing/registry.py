"""The protocols whose material two parties can make themselves, by name."""

from __future__ import annotations

from collections.abc import Sequence

from ..program import Program
from .beaver_ot_preparation import BeaverOTPreparation
from .masked_preparation import MaskedPreparation
from .preparation import Preparation, PreparationTraffic

PREPARATIONS: dict[str, type[Preparation]] = {kind.protocol: kind for kind in (BeaverOTPreparation, MaskedPreparation)}


def preparation_traffic(protocol: str, program: Program, images: int) -> Sequence[PreparationTraffic]:
    """Predicted bytes of every operation to prepare some inferences, in program order."""
    return PREPARATIONS[protocol].traffic(program, images)
