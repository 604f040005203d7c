"""The protocols that two parties can execute, by name."""

from __future__ import annotations

from ..errors import Refusal
from ..protocols.beaver_ot_execution import BeaverOTExecution
from ..protocols.masked_execution import MaskedDcfExecution, MaskedExecution
from ..protocols.party import Execution

EXECUTIONS: dict[str, Execution] = {
    execution.name: execution for execution in (BeaverOTExecution(), MaskedExecution(), MaskedDcfExecution())
}


def get_execution(name: str) -> Execution:
    """The executable protocol of this name; refuses one that is a cost model only."""
    if name not in EXECUTIONS:
        known = ", ".join(EXECUTIONS)
        raise Refusal(f"protocol {name!r} cannot be executed: choose one of {known} with --protocol")
    return EXECUTIONS[name]
