"""`masked`: every secret wire is its masked value and the mask's shares; comparison by one-hot planes or by keys."""

from ..descriptor import ProtocolDescriptor
from .costs import Masked, MaskedDcf
from .execution import MaskedDcfExecution, MaskedExecution
from .preparation import MaskedPreparation
from .variant_costs import MaskedDcfNarrow, MaskedOneHotNarrow

MASKED = ProtocolDescriptor(Masked(), MaskedExecution(), MaskedPreparation)
MASKED_DCF = ProtocolDescriptor(MaskedDcf(), MaskedDcfExecution())
MASKED_DCF_NARROW = ProtocolDescriptor(MaskedDcfNarrow())
MASKED_ONEHOT_NARROW = ProtocolDescriptor(MaskedOneHotNarrow())

__all__ = ["MASKED", "MASKED_DCF", "MASKED_DCF_NARROW", "MASKED_ONEHOT_NARROW"]
