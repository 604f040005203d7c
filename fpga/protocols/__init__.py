"""Two-party protocols, by name: what each operator sends and computes, and how two parties execute it.

A protocol is a folder of its own with a descriptor, and one line in the list below.
"""

from rrnet_nni.base.errors import Refusal

from ..cost.protocol import Compute, Exchange, Phase, ProtocolCosts
from .beaver_ot import BEAVER_OT, OT_EXTENSION, SILENT_OT
from .descriptor import ProtocolDescriptor
from .masked import MASKED, MASKED_DCF, MASKED_DCF_NARROW, MASKED_ONEHOT_NARROW
from .paper import PAPER
from .party import Execution
from .shared.preparation import Preparation

#: Every protocol that can be named; the first is the default of a search.
PROTOCOLS: dict[str, ProtocolDescriptor] = {
    protocol.name: protocol
    for protocol in (
        BEAVER_OT,
        OT_EXTENSION,
        SILENT_OT,
        MASKED,
        MASKED_DCF,
        MASKED_DCF_NARROW,
        MASKED_ONEHOT_NARROW,
        PAPER,
    )
}


def protocol_names() -> tuple[str, ...]:
    """Names of all protocols, the default first."""
    return tuple(PROTOCOLS)


def get_protocol(name: str) -> ProtocolDescriptor:
    """The protocol of this name.

    Raises:
        Refusal: there is none.
    """
    if name not in PROTOCOLS:
        raise Refusal(f"protocol {name!r} is unknown: expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def get_costs(name: str) -> ProtocolCosts:
    """What the protocol of this name costs; refuses as `get_protocol` does."""
    return get_protocol(name).costs


def executions() -> dict[str, Execution]:
    """The protocols that two parties can execute, by name."""
    return {name: protocol.execution for name, protocol in PROTOCOLS.items() if protocol.execution is not None}


def get_execution(name: str) -> Execution:
    """How two parties execute the protocol of this name.

    Raises:
        Refusal: there is none, or it is a cost model only.
    """
    known = executions()
    if name not in known:
        raise Refusal(f"protocol {name!r} cannot be executed: choose one of {', '.join(known)} with --protocol")
    return known[name]


def preparations() -> dict[str, type[Preparation]]:
    """The protocols whose material two parties can make themselves, by name."""
    return {name: protocol.preparation for name, protocol in PROTOCOLS.items() if protocol.preparation is not None}


def accelerated_names() -> tuple[str, ...]:
    """Names of the protocols that the accelerator can follow."""
    return tuple(name for name, protocol in PROTOCOLS.items() if protocol.accelerator is not None)


__all__ = [
    "PROTOCOLS",
    "Compute",
    "Exchange",
    "Phase",
    "ProtocolCosts",
    "ProtocolDescriptor",
    "accelerated_names",
    "executions",
    "get_costs",
    "get_execution",
    "get_protocol",
    "preparations",
    "protocol_names",
]
