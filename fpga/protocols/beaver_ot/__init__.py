"""`beaver-ot`: the paper's way, Beaver products and oblivious transfer, and its cost models with other transfers."""

from ..descriptor import ProtocolDescriptor
from .accelerator import ACCELERATOR
from .costs import BeaverOT
from .execution import BeaverOTExecution
from .extension_costs import OtExtension, SilentOt
from .preparation import BeaverOTPreparation

BEAVER_OT = ProtocolDescriptor(BeaverOT(), BeaverOTExecution(), BeaverOTPreparation, ACCELERATOR)
OT_EXTENSION = ProtocolDescriptor(OtExtension())
SILENT_OT = ProtocolDescriptor(SilentOt())

__all__ = ["BEAVER_OT", "OT_EXTENSION", "SILENT_OT"]
