"""`masked`: every secret wire is its masked value and the mask's shares; comparison by one-hot planes or by keys."""

from ..descriptor import ProtocolDescriptor
from .accelerator import DCF_ACCELERATOR, ONEHOT_ACCELERATOR
from .costs import Masked, MaskedDcf
from .execution import MaskedDcfExecution, MaskedExecution
from .plan import plan_masked
from .preparation.preparation import MaskedPreparation
from .variant_costs import MaskedDcfNarrow, MaskedOneHotNarrow

MASKED = ProtocolDescriptor(Masked(), MaskedExecution(), MaskedPreparation, ONEHOT_ACCELERATOR, plan_masked)
MASKED_DCF = ProtocolDescriptor(MaskedDcf(), MaskedDcfExecution(), accelerator=DCF_ACCELERATOR, plan=plan_masked)
MASKED_DCF_NARROW = ProtocolDescriptor(MaskedDcfNarrow(), plan=plan_masked)
MASKED_ONEHOT_NARROW = ProtocolDescriptor(MaskedOneHotNarrow(), plan=plan_masked)

__all__ = ["MASKED", "MASKED_DCF", "MASKED_DCF_NARROW", "MASKED_ONEHOT_NARROW"]
